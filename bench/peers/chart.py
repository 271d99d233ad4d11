"""A picture of the ratios: a bar each on a logarithmic scale that begins at the peer's own speed, with what was asked for and what was aimed at."""
import math
from html import escape

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 300, 60, 46, 30
LOW, HIGH = 0.8, 16.0


def draw(path, rows, where):
    x = lambda ratio: LEFT + (WIDTH - LEFT - RIGHT) * math.log(min(max(ratio, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    bottom = TOP + ROW * len(rows)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 44}" viewBox="0 0 {WIDTH} {bottom + 44}" '
           'font-family="sans-serif" font-size="12">',
           f'<title>sdlora against its peers, {escape(where)}</title>', '<rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="12" y="20" font-size="14" fill="#222">How many times as fast, or as small, as the peer ({escape(where)})</text>']
    for tick in (1, 2, 4, 8, 16):
        out.append(f'<path d="M{x(tick):.1f} {TOP - 8}V{bottom}" stroke="{"#888" if tick == 1 else "#ddd"}"/>'
                   f'<text x="{x(tick):.1f}" y="{TOP - 12}" text-anchor="middle" fill="#666">{tick}</text>')
    for i, r in enumerate(rows):
        y, ratio = TOP + ROW * i, float(r["ratio"])
        left, right = sorted((x(1), x(ratio)))
        out.append(f'<text x="{LEFT - 12}" y="{y + 14}" text-anchor="end" fill="#222">{escape(r["what"])}</text>'
                   f'<text x="{LEFT - 12}" y="{y + 26}" text-anchor="end" font-size="9" fill="#888">against {escape(r["peer"])}</text>'
                   f'<rect x="{left:.1f}" y="{y + 5}" width="{right - left:.1f}" height="18" fill="{"#4c78a8" if ratio >= float(r["bar"]) else "#d62728"}"/>'
                   f'<path d="M{x(float(r["bar"])):.1f} {y + 1}v26" stroke="#222" stroke-width="2"/>')
        if r["aim"]:
            out.append(f'<path d="M{x(float(r["aim"])):.1f} {y + 1}v26" stroke="#222" stroke-width="2" stroke-dasharray="3 2"/>')
        past = max(right, x(float(r["aim"] or r["bar"]))) + 6
        out.append(f'<text x="{past:.1f}" y="{y + 18}" fill="#222" font-weight="bold">{ratio:.2f}</text>')
    y = bottom + 26
    out.append(f'<path d="M{LEFT} {y - 10}v14" stroke="#222" stroke-width="2"/><text x="{LEFT + 8}" y="{y}" fill="#666">asked for</text>'
               f'<path d="M{LEFT + 90} {y - 10}v14" stroke="#222" stroke-width="2" stroke-dasharray="3 2"/>'
               f'<text x="{LEFT + 98}" y="{y}" fill="#666">aimed at</text></svg>')
    path.write_text("\n".join(out) + "\n")
