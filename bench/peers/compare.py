#!/usr/bin/env python3
"""sdlora against its peers on this machine's cores: a table of ratios, a line each in bench/results, a picture.

    compare.py BENCH_STEP [--models DIR] [--sdcpp DIR] [--only ROW...] [--pairs N] [--threads N] [--svg FILE]

Both stay loaded and take turns, A B A B ...; after a pair that does not count the ratio of each pair is taken, peer / sdlora, and the median of these is the
row's. Both have the same weights: Stable Diffusion 1.5's shapes with random numbers, as golden/full.py makes them (in DIR, where they are looked for first),
and golden/tiny-sd. The peer has to train as many numbers as sdlora does, or there is no row. --sdcpp: a checkout of stable-diffusion.cpp with `sd-cli` built in
build/bin; without one its row is not measured. Rows that are not measured now stay in the table with their date. Wants bench/peers/requirements.txt, 16 GB of
memory, 4 GB of disk and a machine that does nothing else.
"""
import argparse, csv, datetime, os, pathlib, re, statistics, subprocess, sys, tempfile

import chart

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FIELDS = ["row", "what", "peer", "bar", "aim", "ratio", "low", "high", "pairs", "sdlora_s", "peer_s", "sdlora_mb", "peer_mb", "threads", "commit", "date"]

# Name of the row, what it says, peer, model, the job, pairs, at least, aimed at. All have all threads, but torch one with the embedded model: that is faster.
ROWS = [
    ("text", "text encoder, 77 tokens", "torch", "sd15", "text 512 512 1", 7, 1.0, None),
    ("unet512", "U-Net, 512x512", "torch", "sd15", "forward 512 512 1", 5, 1.25, 1.5),
    ("unet768", "U-Net, 512x768", "torch", "sd15", "forward 512 768 1", 5, 1.25, 1.5),
    ("decode", "decoding latents, 512x512", "torch", "sd15", "decode 512 512 1", 5, 1.3, None),
    ("step", "LoRA step, 264 modules, 512x768", "torch", "sd15", "step 512 768 1", 3, 1.25, 1.5),
    ("memory", "its peak memory", "torch", "sd15", None, 0, 1 / 0.6, None),
    ("tiny", "LoRA step, embedded model, 64x96", "torch", "tiny", "step 64 96 1", 9, 4.0, None),
    ("sdcpp", "U-Net, 512x512", "stable-diffusion.cpp", "sd15", "forward 512 512 1", 3, 8.0, None),
]
ADAPTERS = dict(sd15=["--rank", "32"], tiny=["--rank", "16", "--conv"])


class Worker:
    """A process that answers each line with a line."""
    def __init__(self, *command):
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"compare.py: {self.process.args[0]} ended at: {line}")
        return [float(x) for x in answer.split()]      # seconds, peak MB, ...; the last is how many numbers are trained

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class StableDiffusionCpp:
    """A picture of two steps without guidance, so a step is a call of the U-Net: sd-cli's own log says how long the second took, and then it is ended."""
    def __init__(self, checkout, model, threads):
        options = ["-M", "img_gen", "-m", model, "-p", "a", "-W", 512, "-H", 512, "--steps", 2, "--cfg-scale", 1, "-t", threads]
        self.command = [str(x) for x in [checkout / "build/bin/sd-cli", *options]]

    def ask(self, line):
        log = ""
        with (tempfile.TemporaryDirectory() as out,
              subprocess.Popen(self.command + ["-o", f"{out}/a.png"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process):
            while part := process.stdout.read1():
                log += part.decode(errors="replace")
                if step := re.search(r"2/2 - ([0-9.]+)(s/it|it/s)", log):
                    process.kill()
                    return [float(step[1]) if step[2] == "s/it" else 1 / float(step[1]), 0, 0]
        sys.exit(f"compare.py: {self.command[0]}: no time of a step in its log:\n{log[-2000:]}")

    def close(self):
        pass


def make_models(folder):
    """The diffusers folder sd15 and the single file sd15.safetensors, where they are missing."""
    if (folder / "sd15/model_index.json").exists() and (folder / "sd15.safetensors").exists():
        return
    sys.path.insert(0, str(ROOT / "golden"))
    import full
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sd15/model_index.json").exists():
        full.write_model(folder / "sd15", "sd15", full.MODELS["sd15"], None)
    if not (folder / "sd15.safetensors").exists():
        full.write_single_file(folder / "sd15.safetensors", folder / "sd15")


def measure(args, row):
    """(seconds of ours, seconds of theirs) of each pair, and both peaks."""
    name, _, peer, model, job, pairs, _, _ = row
    folder = ROOT / "golden/tiny-sd" if model == "tiny" else args.models / "sd15"
    conv = ADAPTERS[model]
    ours = Worker(args.bench_step, "--model", folder, *conv, "--serve")
    theirs = (StableDiffusionCpp(args.sdcpp, args.models / "sd15.safetensors", args.threads) if name == "sdcpp"
              else Worker(sys.executable, HERE / "torch_nets.py", folder, *conv))
    line, their_line, found = f"{job} {args.threads}", f"{job} {1 if model == 'tiny' else args.threads}", []
    for i in range((args.pairs or pairs) + 1):          # the first does not count
        a, b = ours.ask(line), theirs.ask(their_line)
        if a[-1] != b[-1]:
            sys.exit(f"compare.py: {name}: sdlora trains {a[-1]:.0f} numbers, {peer} {b[-1]:.0f}")
        found += [(a, b)] if i else []
        print(f"  {name}: {a[0]:.4f} s, {peer} {b[0]:.4f} s, ratio {b[0] / a[0]:.2f}" + ("" if i else ", does not count"), file=sys.stderr, flush=True)
    ours.close(), theirs.close()
    return [(a[0], b[0]) for a, b in found], max(a[1] for a, _ in found), max(b[1] for _, b in found)


def result(args, row, pairs, our_mb, peer_mb, commit):
    ratios = sorted(b / a for a, b in pairs)
    name, what, peer, _, _, _, bar, aim = row
    fill = dict(row=name, what=what, peer=peer, bar=f"{bar:.2f}", aim=aim or "", threads=args.threads, commit=commit, date=datetime.date.today().isoformat(),
                sdlora_mb=f"{our_mb:.0f}", peer_mb=f"{peer_mb:.0f}")
    if name == "memory":
        return fill | dict(ratio=f"{peer_mb / our_mb:.3f}", low="", high="", pairs=1, sdlora_s="", peer_s="")
    return fill | dict(ratio=f"{statistics.median(ratios):.3f}", low=f"{ratios[0]:.3f}", high=f"{ratios[-1]:.3f}", pairs=len(pairs),
                       sdlora_s=f"{statistics.median(a for a, _ in pairs):.5f}", peer_s=f"{statistics.median(b for _, b in pairs):.5f}")


def machine():
    model = next((line.split(":")[1] for line in open("/proc/cpuinfo") if line.startswith("model name")), "machine")
    return re.sub("[^A-Za-z0-9]+", "-", model.strip()).strip("-")


def print_table(found):
    print(f"{'what':36} {'peer':21} {'sdlora':>10} {'peer':>10} {'ratio':>6}  {'of pairs':>12} {'bar':>5} {'aim':>4}")
    for r in found:
        show = lambda s, mb: f"{float(s):8.3f} s" if s else f"{float(mb):7.0f} MB"
        between = f"{float(r['low']):.2f} .. {float(r['high']):.2f}" if r["low"] else ""
        print(f"{r['what']:36} {r['peer']:21} {show(r['sdlora_s'], r['sdlora_mb'])} {show(r['peer_s'], r['peer_mb'])} {float(r['ratio']):6.2f}  {between:>12} "
              f"{float(r['bar']):5.2f} {r['aim'] or '':>4}  {'' if float(r['ratio']) >= float(r['bar']) else 'MISSED'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench_step", type=pathlib.Path)
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "out/peers")
    parser.add_argument("--sdcpp", type=pathlib.Path)
    parser.add_argument("--only", nargs="*", help=", ".join(r[0] for r in ROWS if r[4]) + "; none of them: only draw")
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--svg", type=pathlib.Path, default=ROOT / "docs/peers.svg")
    args = parser.parse_args()
    file = ROOT / "bench/results" / f"{machine()}-{args.threads}-peers.csv"
    found = {r["row"]: r for r in csv.DictReader(open(file))} if file.exists() else {}
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip() or "none"
    chosen = [r for r in ROWS if r[4] and (r[0] in args.only if args.only is not None else r[0] != "sdcpp" or args.sdcpp)]
    if chosen:
        make_models(args.models)
    for row in chosen:
        pairs, our_mb, peer_mb = measure(args, row)
        found[row[0]] = result(args, row, pairs, our_mb, peer_mb, commit)
        if row[0] == "step":
            found["memory"] = result(args, ROWS[[r[0] for r in ROWS].index("memory")], pairs, our_mb, peer_mb, commit)
    found = [found[r[0]] for r in ROWS if r[0] in found]
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as f:
        table = csv.DictWriter(f, FIELDS, lineterminator="\n")
        table.writeheader(), table.writerows(found)
    chart.draw(args.svg, found, f"{machine().replace('-', ' ')}, {args.threads} threads")
    print_table(found)


if __name__ == "__main__":
    main()
