# Of `launch KERNEL THREADS SHARED`, `usage KERNEL REG:N STACK:N` and the listing of cuobjdump -sass: a line a kernel, its name and numbers apart by |.
function hex(text,   value, i) {
    for (i = 1; i <= length(text); i++) value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
}
function least(a, b) { return a < b ? a : b }

# Bytes that an access moves for a warp.
function bytes(op) {
    if (op ~ /^LDSM/) return 32 * (op ~ /\.4/ ? 16 : op ~ /\.2/ ? 8 : 4)
    return 32 * (op ~ /\.128/ ? 16 : op ~ /\.64/ ? 8 : op ~ /\.[US]16/ ? 2 : op ~ /\.[US]8/ ? 1 : 4)
}

# The innermost loop with the most HMMA: from the target of a backward branch to the branch.
function main_loop(   b, i, found) {
    loop_hmma = 0
    for (b = 0; b < count; b++) {
        if (!(b in target) || target[b] > address[b]) continue
        found = 0
        for (i = b; i >= 0 && address[i] >= target[b]; i--) found += op[i] ~ /^HMMA/
        if (found < loop_hmma || !found || (found == loop_hmma && b - i > loop_last - loop_first)) continue
        loop_hmma = found; loop_first = i + 1; loop_last = b
    }
    loop_code = shared_bytes = global_bytes = 0
    for (i = loop_first; loop_hmma && i <= loop_last; i++) {
        loop_code++
        if (op[i] ~ /^(LDS|STS)/) shared_bytes += bytes(op[i])
        else if (op[i] ~ /^LDG/) global_bytes += bytes(op[i])
    }
}

# Blocks of an SM: at most 16, 1024 threads, 64 K registers given out by 256 to a warp, 64 KB of shared memory.
function occupancy(threads, registers, shared,   warps, blocks) {
    warps = int((threads + 31) / 32)
    blocks = least(16, int(32 / warps))
    blocks = least(blocks, int(65536 / (int((registers * 32 + 255) / 256) * 256 * warps)))
    if (shared) blocks = least(blocks, int(65536 / shared))
    return 100 * blocks * warps / 32
}

function tell(   threads, line) {
    if (name == "") return
    main_loop()
    threads = (name in launched) ? launched[name] : "-"
    line = sprintf("%7s %9d %6s %6d %8s%% %5d", threads, registers[name], (name in shared) ? shared[name] : "-", spills,
                   threads == "-" ? "-" : sprintf("%.0f", occupancy(threads, registers[name], shared[name])), code)
    if (!loop_hmma) line = line sprintf(" %5s %5s %5s %8s %8s", "-", "-", "-", "-", "-")
    else line = line sprintf(" %5d %5d %4.0f%% %8.0f %8.0f", loop_code, loop_hmma, 100 * loop_hmma / loop_code, shared_bytes / loop_hmma, global_bytes / loop_hmma)
    print name " |" line
}

# Host and device write the name of a static function differently: _ZL9 and _Z9.
function plain_name(text) { sub(/^_ZL/, "_Z", text); return text }

$1 == "launch" {
    name = plain_name($2)
    if (!(name in launched)) launched[name] = shared[name] = 0
    if ($3 > launched[name]) launched[name] = $3
    if ($4 > shared[name]) shared[name] = $4
    name = ""
}
$1 == "usage" { registers[plain_name($2)] = substr($3, 5) + 0 }
$1 == "Function" { tell(); name = plain_name($3); count = code = spills = 0; split("", op); split("", target); split("", address) }
$1 ~ /^\/\*[0-9a-f]+\*\/$/ && name != "" && $2 !~ /^\/\*/ {
    k = $2 ~ /^@/ ? 3 : 2
    address[count] = hex(substr($1, 3, length($1) - 4)); op[count] = $k
    if ($k == "BRA") { for (i = k + 1; i <= NF; i++) if ($i ~ /^0x/) { target[count] = hex(substr($i, 3)); break } }
    if ($k ~ /^(LDL|STL)/) spills++
    if ($k != "NOP" && $k != "NOP;") code++
    count++
}
END { tell() }
