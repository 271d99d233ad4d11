"""TensorBoard's event files, by TensorBoard itself.

python golden/events.py              writes golden/events.tfevents: what its own record writer and protocol buffers make of the events below
python golden/events.py check DIR    reads a folder that `sdlora train --logging_dir` wrote with its own reader, CRCs checked, and prints each curve
"""
import io
import pathlib
import sys
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def scalars(wall, step, **values):
    return Event(wall_time=wall, step=step, summary=Summary(value=[Summary.Value(tag=t.replace("__", "/"), simple_value=v) for t, v in values.items()]))


def write():
    out = io.BytesIO()
    writer = RecordWriter(out)
    for event in (Event(wall_time=1700000000.25, file_version="brain.Event:2"),
                  Event(wall_time=1700000000.25, step=300, session_log=SessionLog(status=SessionLog.START)),
                  scalars(1700000001.5, 301, loss__current=0.125, loss__average=0.1234, lr__unet=1e-4),
                  scalars(1700000002.75, 2**40 + 127, norm__gradient=0.0, loss__current=float("inf"))):
        writer.write(event.SerializeToString())
    pathlib.Path(__file__).with_suffix(".tfevents").write_bytes(out.getvalue())


def check(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(folder, size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        points = events.Scalars(tag)
        print(f"{tag:20} {len(points):6} points, steps {points[0].step} to {points[-1].step}, first {points[0].value:.6g}, last {points[-1].value:.6g}")
    assert events.Tags()["scalars"], "no scalars"


check(sys.argv[2]) if sys.argv[1:2] == ["check"] else write()
