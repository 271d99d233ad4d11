"""What golden/interop.py and golden/full.py share: a run of sdlora, how far apart two results are and may be, and the table that says so.

Let d be the distance of torch's own float32 run from its float64 run, which is what float32 rounding does to a net on its whole way. Distances are norms
relative to that of the float64 result.
    ref     (float)     at most 4 d from torch in float64: an honest float run is one more draw of the same rounding
    cpu     (float)     the same, though it convolves by Winograd's F(4x4), which rounds more
    ref64   (double)    at most 16 d / 2^29 from torch in float64: the same roundings, each 2^29 times smaller, on both sides now, and torch has plainer
                        kernels for float64, with longer sums. No term is added for reading the files: F16 is widened to either type exactly
And a LoRA that does nothing would agree as well: it has to move the result by 100 d.
"""
import pathlib, subprocess, sys, time

MARGIN, WORK = dict(ref=4, cpu=4, ref64=16 / 2 ** 29), 100             # 2^-29 is 2^-53 / 2^-24


def fail(what):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {what}")


def run(program, *args):
    """sdlora from the project's folder; a failure of it ends the script."""
    done = subprocess.run([program.resolve(), *map(str, args)], cwd=pathlib.Path(__file__).resolve().parent.parent, capture_output=True, text=True)
    if done.returncode:
        fail(f"sdlora {args[0]}: {done.stderr}")


def distance(got, want):
    if got.shape != want.shape:
        fail(f"shapes {tuple(got.shape)} and {tuple(want.shape)}")
    return ((got.double() - want).norm() / want.norm()).item()


class Table:
    """What was compared, what came out, what it may be. timed: and when."""
    def __init__(self, heading, width, what, timed=False):
        self.missed, self.begin, self.timed = 0, time.time(), timed
        self.line = f"{{:{width}}} {{:{what}}} ".format
        print(f"{self.line(heading, 'what')}{'found':>10}    {'expected':>10}")

    def row(self, whose, what, found, sign, expected):
        good = {"<=": found <= expected, ">=": found >= expected, "=": found == expected}[sign]        # false for NaN
        show = lambda v: f"{v:10}" if isinstance(v, int) else f"{v:10.2e}"
        verdict = "" if good else "MISSED"
        when = f"{' ' if verdict else ''}{time.time() - self.begin:8.0f} s" if self.timed else ""
        print(f"{self.line(whose, what)}{show(found)} {sign:>2} {show(expected)}  {verdict}{when}", flush=True)
        self.missed += not good

    def distances(self, whose, what, single, double, ours):
        """The results of torch in float32 and in float64, and of sdlora by the name of its set. Returns d."""
        d = distance(single, double)
        for which, x in ours.items():
            self.row(whose, f"{what}, {which}", distance(x, double), "<=", MARGIN[which] * d)
        return d

    def end(self):
        sys.exit(f"{self.missed} missed" if self.missed else None)
