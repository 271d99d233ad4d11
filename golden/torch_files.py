"""Makes golden/torch: what torch.save writes, small and whole (*.pt), the same damaged or hostile (bad/*), and pickles
for tests/fuzz.

    python golden/torch_files.py    from the repository root; needs torch

Element i of the tensor at place k of TENSORS is (7 i + 3 k) % 11 - 5, plus 1/2 in a floating-point type, plus 5 in u8. In the whole files they are under
state_dict: as they are; `turned`, f32 (3,2), the transpose of the first; `part`, rows 1 and 2 of the third; `inner.parameter`, an nn.Parameter of the first."""
import collections, io, os, pickle, struct, zipfile
import torch

OUT = "golden/torch"
TENSORS = [("a.f32", torch.float32, (2, 3)), ("b.f16", torch.float16, (4,)), ("c.bf16", torch.bfloat16, (4, 2)), ("d.f64", torch.float64, (2, 1, 2)),
           ("e.i64", torch.int64, ()), ("f.i32", torch.int32, (3,)), ("g.u8", torch.uint8, (5,)), ("h.bool", torch.bool, (2,)), ("i.f32", torch.float32, (0, 4))]


def values(k, dtype, shape):
    n = torch.Size(shape).numel()
    v = torch.tensor([(7 * i + 3 * k) % 11 - 5 for i in range(n)], dtype=torch.float64)
    v += 0.5 if dtype.is_floating_point else 5 if dtype == torch.uint8 else 0
    return v.to(dtype).reshape(shape)


os.makedirs(f"{OUT}/bad", exist_ok=True)
tensors = {name: values(k, d, s) for k, (name, d, s) in enumerate(TENSORS)}
tensors["turned"] = tensors["a.f32"].t()
tensors["part"] = tensors["c.bf16"][1:3]
tensors["inner"] = {"parameter": torch.nn.Parameter(tensors["a.f32"])}
whole = {"state_dict": tensors, "pytorch-lightning_version": "1.4.2", "epoch": 7, "global_step": 470000, "lr": 1e-4, "callbacks": {"name": None, "best": True}, "optimizer": [torch.zeros(2)]}
torch.save(whole, f"{OUT}/zip.pt")
torch.save(whole, f"{OUT}/legacy.pt", _use_new_zipfile_serialization=False)
torch.save([torch.ones(2), {"x": torch.zeros(3)}], f"{OUT}/list.pt")
torch.serialization.set_crc32_options(False)
torch.save(whole, f"{OUT}/no_checksums.pt")
torch.serialization.set_crc32_options(True)


# ---- damaged and hostile ------------------------------------------------------------------------------------------------------------------

def archive(name, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(f"{OUT}/bad/{name}", "w", method) as z:
        for key, data in members:
            z.writestr(zipfile.ZipInfo(key), data, method)


def program(name, code, storage=bytes(16)):
    """A pickle put together by hand, as data.pkl beside one storage of 16 bytes."""
    archive(name, [("archive/data.pkl", code), ("archive/data/0", storage), ("archive/version", b"3\n")])


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def number(n):
    return b"J" + struct.pack("<i", n) if -2**31 <= n < 2**31 else b"\x8a\x08" + struct.pack("<q", n)


def tensor(offset=0, shape=(2, 2), stride=(2, 1), storage="FloatStorage", key="0", count=4):
    numbers = lambda t: b"(" + b"".join(map(number, t)) + b"t"
    pid = b"(" + text("storage") + b"ctorch\n" + storage.encode() + b"\n" + text(key) + text("cpu") + number(count) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + number(offset) + numbers(shape) + numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR"


def entry(value, key="a"):
    return b"\x80\x02}" + text(key) + value + b"s."


class System:
    def __reduce__(self):
        return os.system, ("echo pwned",)


with io.BytesIO() as f:
    pickle.dump({"a": System()}, f, 2)
    program("system.pt", f.getvalue())
with io.BytesIO() as f:
    pickle.dump({"a": System()}, f, 4)
    program("system4.pt", f.getvalue())
program("builtin.pt", b"\x80\x02cbuiltins\neval\n" + text("1") + b"\x85R.")
program("instruction.pt", b"\x80\x02(ios\nsystem\n.")
program("extension.pt", b"\x80\x02\x82\x01.")
program("cut_short.pt", entry(tensor())[:-20])
program("no_stop.pt", b"\x80\x02}")
program("stack.pt", b"\x80\x020.")
program("mark.pt", b"\x80\x02t.")
program("two_left.pt", b"\x80\x02NN.")
program("memo_empty.pt", b"\x80\x02h\x05.")
program("memo_far.pt", b"\x80\x02Nr\xff\xff\xff\x7f.")
program("long.pt", b"\x80\x02\x8b\xff\xff\xff\x7f.")
program("text_long.pt", b"\x80\x02X\xff\xff\xff\xff.")
program("dict_odd.pt", b"\x80\x02}(Nu.")
program("into_int.pt", b"\x80\x02K\x01Na.")
program("call_int.pt", b"\x80\x02K\x01)R.")
program("nested.pt", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".")
program("cyclic.pt", b"\x80\x02]q\x00h\x00a.")
program("laughs.pt", b"\x80\x02]q\x00" + b"".join(b"0](h%ch%ch%ch%ceq%c" % (i, i, i, i, i + 1) for i in range(15)) + b".")
program("negative_shape.pt", entry(tensor(shape=(-2, -2))))
program("negative_stride.pt", entry(tensor(stride=(-1, 1))))
program("negative_offset.pt", entry(tensor(offset=-1)))
program("negative_count.pt", entry(tensor(count=-4)))
program("beyond.pt", entry(tensor(offset=1)))
program("beyond_file.pt", entry(tensor(shape=(2, 4), stride=(4, 1), count=8)))
program("shape_overflow.pt", entry(tensor(shape=(2**40, 2**40), stride=(0, 0))))
program("stride_overflow.pt", entry(tensor(shape=(8, 8), stride=(2**62, 2**62))))
program("repeats.pt", entry(tensor(shape=(2**20, 4), stride=(0, 1))))
program("rank_nine.pt", entry(tensor(shape=(1,) * 9, stride=(1,) * 9)))
program("few_strides.pt", entry(tensor(stride=(1,))))
program("wrong_storage.pt", entry(tensor(storage="Size")))
program("no_storage.pt", entry(tensor(key="7")))
program("storage_path.pt", entry(tensor(key="../data.pkl", count=1)))
program("pid_text.pt", b"\x80\x02}" + text("a") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + text("0") + b"QK\x00)))tRs.")
program("rebuild_nothing.pt", entry(b"ctorch._utils\n_rebuild_tensor_v2\n)R"))
program("name_control.pt", entry(tensor(), "a\n"))
program("name_long.pt", entry(tensor(), "a" * 600))
program("copies.pt", b"\x80\x02}(" + b"".join(text(str(i)) + tensor(0, (32, 32), (1, 32), count=1024) for i in range(30)) + b"u.", bytes(4096))
archive("compressed.pt", [("archive/data.pkl", entry(tensor())), ("archive/data/0", bytes(1 << 20))], zipfile.ZIP_DEFLATED)
archive("no_pickle.pt", [("word/document.xml", b"<x/>")])
archive("big_endian.pt", [("archive/data.pkl", entry(tensor())), ("archive/data/0", bytes(16)), ("archive/byteorder", b"big")])

good = open(f"{OUT}/list.pt", "rb").read()
directory, end = good.index(b"PK\x01\x02"), good.rindex(b"PK\x05\x06")


def damaged(name, data):
    open(f"{OUT}/bad/{name}", "wb").write(data)


def patch(data, at, fmt, value):
    return data[:at] + struct.pack(fmt, value) + data[at + struct.calcsize(fmt):]


second = good.index(b"PK\x01\x02", directory + 1)
damaged("zip_cut.pt", good[:-30])
damaged("zip_start_only.pt", b"PK\x03\x04")
end64 = good.rindex(b"PK\x06\x06")                      # torch always writes the 64-bit record
damaged("zip_directory_far.pt", patch(good, end64 + 48, "<Q", len(good)))
damaged("zip_many.pt", patch(good, end64 + 32, "<Q", 60000))
damaged("zip_locator.pt", patch(good, end - 12, "<Q", 2**63))
damaged("zip_encrypted.pt", patch(good, directory + 8, "<H", 1))
damaged("zip_sizes.pt", patch(good, directory + 20, "<I", 7))
damaged("zip_far.pt", patch(good, directory + 42, "<I", 0x7fffffff))
damaged("zip_long.pt", patch(patch(good, directory + 20, "<I", 1 << 30), directory + 24, "<I", 1 << 30))
damaged("zip_wide_missing.pt", patch(good, directory + 24, "<I", 0xffffffff))
damaged("zip_two_names.pt", good[:directory] + good[directory:].replace(b"list/data.pkl", b"list/data.pkm", 1))
damaged("zip_signature.pt", patch(good, second, "<I", 0))
first = good[directory:second]
damaged("zip_flipped.pt", patch(good, good.index(torch.ones(2).numpy().tobytes()), "<B", 1))
damaged("zip_twice.pt", good[:directory] + 2 * first + struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, 2, 2, 2 * len(first), directory, 0))
for name in ("zip", "bad/system4", "bad/memo_far", "bad/text_long", "bad/cyclic", "bad/laughs", "bad/rank_nine"):
    with zipfile.ZipFile(f"{OUT}/{name}.pt") as z:      # for the fuzzing of the pickle reader alone
        code = z.read(next(n for n in z.namelist() if n.endswith("data.pkl")))
        open(f"tests/fuzz/corpus/pickle/{name.split('/')[-1]}", "wb").write(code)
open("tests/fuzz/corpus/pickle/memo_hole", "wb").write(b"\x80\x02K\x01q\x050h\x03.")
for protocol in (2, 3, 4, 5):
    value = {"state_dict": collections.OrderedDict(a=1, b=[2.5, None, True, "text", b"bytes", 2**40, -7, 300]), "t": ((), (1,), (1, 2), (1, 2, 3, 4)), "d": {}}
    open(f"tests/fuzz/corpus/pickle/protocol{protocol}", "wb").write(pickle.dumps(value, protocol))

legacy = open(f"{OUT}/legacy.pt", "rb").read()
damaged("legacy_cut.pt", legacy[:-9])
damaged("legacy_head.pt", legacy[:15])
damaged("legacy_system.pt", legacy[:15] + pickle.dumps(System(), 2))
