# scaling.awk - draws the lines of a scaling.csv (bench/run.sh): what a U-Net and a step of LoRA cost against resolution, batch and threads. SVG to stdout.
# Of each series the last line of a size, batch and number of threads counts.

function text(x, y, s, how) { printf "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, how, s }
function line(x0, y0, x1, y1, how) { printf "<path d=\"M%.1f %.1fL%.1f %.1f\" %s/>\n", x0, y0, x1, y1, how }

# A panel's frame: its left edge, title, ranges; and where a value lies in it.
function panel(at, title, under, lowest, highest, most, step,   v) {
    left = at; low = lowest; high = highest; top_value = most
    text(left, 22, title, "font-size=\"13\" fill=\"#222\"")
    for (v = 0; v <= most + 1e-9; v += step) {
        line(left, py(v), left + WIDE, py(v), v ? "stroke=\"#ddd\"" : "stroke=\"#888\"")
        text(left - 6, py(v) + 4, v, "text-anchor=\"end\" fill=\"#666\"")
    }
    text(left + WIDE / 2, TOP + TALL + 34, under, "text-anchor=\"middle\" fill=\"#666\"")
}
function px(v) { return left + 12 + (WIDE - 24) * (v - low) / (high - low) }
function py(v) { return TOP + TALL * (1 - v / top_value) }
function tick(v, s) { text(px(v), TOP + TALL + 16, s, "text-anchor=\"middle\" fill=\"#666\"") }

# One line of points through xs[1..n], ys[1..n].
function series(n, colour,   i) {
    for (i = 1; i <= n; i++) {
        if (i > 1) line(px(xs[i - 1]), py(ys[i - 1]), px(xs[i]), py(ys[i]), "stroke=\"" colour "\" stroke-width=\"2\"")
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", px(xs[i]), py(ys[i]), colour
    }
}
function limit(x0, y0, x1, y1, word) {
    line(px(x0), py(y0), px(x1), py(y1), "stroke=\"#222\" stroke-dasharray=\"4 3\"")
    text(left + 8, TOP + 16, "dashed: " word, "fill=\"#222\"")
}
function seconds(what, side, batch, threads) { return found[series_now, what, side, batch, threads] + 0 }

BEGIN { FS = ","; WIDE = 210; TALL = 190; TOP = 40; colour["forward"] = "#4c78a8"; colour["step"] = "#d62728"; }
# commit, date, series, what, model, set, width, height, batch, threads, best, median
$7 == $8 && $4 in colour {
    found[$3, $4, $7, $9, $10] = $12
    if ($10 > all) all = $10
}
END {
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 830 290\" width=\"830\" height=\"290\" font-family=\"sans-serif\" font-size=\"12\">\n"
    printf "<title>What a U-Net and a step of LoRA cost against resolution, batch and threads</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
    series_now = "sizes"
    longest = seconds("step", 768, 1, all)
    unit = longest > 40 ? 10 : longest > 20 ? 5 : longest > 8 ? 2 : 1

    panel(50, "seconds, one picture, " all " threads", "pixels a side", 256, 768, unit * int(longest / unit + 1), unit)
    for (side = 256; side <= 768; side += 128) tick(side, side)
    text(left + 8, TOP + 16, "LoRA step", "fill=\"" colour["step"] "\"")
    text(left + 8, TOP + 32, "U-Net", "fill=\"" colour["forward"] "\"")
    for (what in colour) {
        n = 0
        for (side = 256; side <= 768; side += 128) if (seconds(what, side, 1, all)) { xs[++n] = side; ys[n] = seconds(what, side, 1, all) }
        series(n, colour[what])
    }

    series_now = "batches"
    panel(320, "a batch, in single pictures (256x256)", "pictures", 1, 4, 4, 1)
    limit(1, 1, 4, 3.5, "3.5 for four")
    for (b = 1; b <= 4; b++) tick(b, b)
    for (what in colour) {
        n = 0
        for (b = 1; b <= 4; b++) if (seconds(what, 256, b, all)) { xs[++n] = b; ys[n] = seconds(what, 256, b, all) / seconds(what, 256, 1, all) }
        series(n, colour[what])
    }

    series_now = "threads"
    panel(590, "threads: times one (512x512)", "threads", 1, all > 1 ? all : 2, all > 1 ? all : 2, 0.5)
    limit(1, 1, 2, 1.8, "1.8 for two")
    for (t = 1; t <= all; t++) tick(t, t)
    for (what in colour) {
        n = 0
        for (t = 1; t <= all; t++) if (seconds(what, 512, 1, t)) { xs[++n] = t; ys[n] = seconds(what, 512, 1, 1) / seconds(what, 512, 1, t) }
        series(n, colour[what])
    }
    print "</svg>"
}
