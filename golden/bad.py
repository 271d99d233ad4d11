"""Makes golden/bad: hostile safetensors files, each below 1 KB and each to be refused. What must be said of them stands in tests/unit_safetensors.c.

    python golden/bad.py            from the repository root"""
import json, os, struct

OUT = "golden/bad"


def entry(dtype="F32", shape=(2,), begin=0, end=8, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


def write(name, header, data=bytes(8), length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    blob = struct.pack("<Q", len(text) if length is None else length) + text + data
    assert len(blob) < 1024 or name == "nested", name
    with open(f"{OUT}/{name}.safetensors", "wb") as f:
        f.write(blob)


os.makedirs(OUT, exist_ok=True)
good = {"a": entry()}
open(f"{OUT}/empty.safetensors", "wb").close()
open(f"{OUT}/seven_bytes.safetensors", "wb").write(b"\x02\0\0\0\0\0\0")
write("header_past_end", good, length=1000)
write("header_huge", good, length=2**63)
write("header_over_limit", good, length=100_000_001)
write("header_wraps", good, length=2**64 - 4)
write("header_empty", b"")
write("header_array", b"[]", b"")
write("header_blank", b" {}", b"")
write("not_json", b'{"a":', b"")
write("not_utf8", b'{"\xff":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
write("trailing", b"{}x", b"")
write("nested", b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", b"")
write("entry_number", {"a": 7})
write("no_dtype", {"a": {"shape": [2], "data_offsets": [0, 8]}})
write("unknown_dtype", {"a": entry("F33")})
write("no_shape", {"a": {"dtype": "F32", "data_offsets": [0, 8]}})
write("negative_dimension", {"a": entry(shape=[-2])})
write("fraction_dimension", {"a": entry(shape=[0.5])})
write("string_dimension", {"a": entry(shape=["2"])})
write("huge_dimension", b'{"a":{"dtype":"F32","shape":[1e300],"data_offsets":[0,8]}}')
write("product_overflows", {"a": entry(shape=[2**32, 2**32])})
write("bytes_overflow", {"a": entry(shape=[2**52, 2**10])})
write("rank_nine", {"a": entry(shape=[1] * 8 + [2])})
write("shape_too_large", {"a": entry(shape=[3])})
write("shape_too_small", {"a": entry(shape=[1])})
write("no_offsets", {"a": {"dtype": "F32", "shape": [2]}})
write("three_offsets", b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}')
write("offsets_swapped", {"a": entry(begin=8, end=0)})
write("offset_negative", {"a": entry(begin=-8, end=0)})
write("past_the_end", {"a": entry(shape=[4], end=16)})
write("overlap", {"a": entry(), "b": entry(begin=4, end=12)}, bytes(12))
write("same_range", {"a": entry(), "b": entry()})
write("hole", {"a": entry(), "b": entry(begin=12, end=20)}, bytes(20))
write("hole_at_start", {"a": entry(begin=4, end=12)}, bytes(12))
write("left_over", good, bytes(9))
write("name_twice", b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}')
write("name_control", b'{"a\\n":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
write("metadata_number", {"__metadata__": {"steps": 7}, **good})
write("metadata_array", {"__metadata__": [], **good})
write("metadata_twice", b'{"__metadata__":{},"__metadata__":{}}', b"")
