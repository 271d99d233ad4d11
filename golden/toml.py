"""Makes golden/toml (settings files and what Python's tomllib reads in them) and golden/bad-toml (files to be refused).

    python golden/toml.py           from the repository root; Python 3.11 or later
good.txt has a line a value: PATH KIND VALUE, strings as the hexadecimal digits of their UTF-8, an array as its number of values and a line each, path + [i].
What must be said of a bad file stands in tests/unit_toml.c. tomllib refuses them all, but for those in OURS: valid TOML that we do not read."""
import os, tomllib

GOOD = {
    "plain": "# a comment\nkey = \"value\" # another\n\n[model]\npath = '/models/sd 1.5'\n\tindented=1\n[training] # rates\nunet_lr = 1e-3\n"
             "max_train_epochs=50\nshuffle_caption = true\nsave_state = false",
    "strings": 'a = ""\nb = "tab\\t line\\n \\"q\\" back\\\\ \\b\\f\\r"\nc = \'C:\\Users\\nobody\'\nd = "\\u00e9\\U0001F600"\ne = "é😀 # no comment"\n'
               'f = """\nfirst line dropped\n  "quoted" ""two"" \\\n      joined\\\n\n\n  again"""\ng = \'\'\'\n\\raw\n\'single\' \'\'two\'\' end\'\'\'\n'
               'h = """""five""""" \ni = \'\'\'\'\'\'\nj = """\\u0041\\t\\\n"""\nk = "]"\nl = "a\\\\"\n',
    "numbers": "a = 0\nb = +17\nc = -0\nd = 1_000_000\ne = 9223372036854775807\nf = -9223372036854775808\ng = 0xDEAD_beef\nh = 0o755\ni = 0b1101_0110\n"
               "j = 0x7fffffffffffffff\nk = 1.5\nl = -0.0\nm = 5e+22\nn = 1e06\no = -2E-2\np = 6.626_070e-3_4\nq = inf\nr = -inf\ns = +1.0\nt = 0e0\n",
    "arrays": "a = []\nb = [512, 768]\nc = [ # comment\n  'conv_dim=16',\n  \"conv_alpha=8\" , # one more\n]\nd = [1, 2.5, \"x\", true,\n]\n",
    "keys": "1234 = 1\na-b_c = 2\n\"quoted key\" = 3\n'single' = 4\na . b . \"c\" = 5\na.d = 6\n[ x . y ]\nz = 7\n[x.y.w]\nz = 8\n[x]\nv = 9\n['ü']\nk = 10\n",
    "windows": "\ufeff[a]\r\nb = 1\r\nc = \"\"\"\r\nx\r\ny\"\"\"\r\n# end\r\n",
    "empty": "",
    "blank": " \t \n\n# nothing\n",
}
BAD = {
    "no_value": "a =\n", "no_equals": "a 1\n", "no_key": "= 1\n", "bare_text": "[x]\noutput_name = mochi\n", "two_values": "a = 1 2\n",
    "two_keys": "a = 1 b = 2\n", "open_string": "\na = \"abc\nb = 1\n", "open_lines": "a = \"\"\"\nabc\n\"\"\n", "open_array": "a = [1, 2\nb = 3\n",
    "open_array_end": "a = [1,\n", "open_table": "[a\nb = 1\n", "after_table": "[a] b = 1\n", "empty_table": "[]\n", "dotted_end": "a. = 1\n",
    "dotted_start": ".a = 1\n", "no_comma": "a = [1 2]\n", "two_commas": "a = [1,,2]\n", "comma_first": "a = [,]\n",
    "key_twice": "[t]\na = 1\nb = 2\na = 3\n", "table_twice": "[a]\n[b]\n[a]\n", "value_then_table": "a = 1\n[a]\n", "value_in_value": "a = 1\na.b = 2\n",
    "table_then_value": "[a.b]\nc = 1\n[x]\n[a]\nb = 2\n", "escape": "a = \"\\x41\"\n", "windows_path": "a = \"C:\\models\"\n",
    "escape_zero": "a = 1\nb = \"\\u0000\"\n", "escape_surrogate": "a = \"\\ud800\"\n", "escape_short": "a = \"\\u12\"\n",
    "escape_large": "a = \"\\U00110000\"\n", "leading_zero": "a = 012\n", "underscore_end": "a = 1_\n", "underscore_two": "a = 1__0\n",
    "underscore_start": "a = _1\n", "point_end": "a = 1.\n", "point_start": "a = .5\n", "exponent": "a = 1e\n", "signs": "a = +-1\n",
    "hex_sign": "a = -0x1\n", "hex_digit": "a = 0xg\n", "too_large": "a = 9223372036854775808\n", "hex_too_large": "a = 0x8000000000000000\n",
    "control": "a = \"\x01\"\n", "control_comment": "# \x7f\n", "zero_byte": "a = 1\0\n", "lone_cr": "a = 1\rb = 2\n", "not_utf8": b"a = \"\xff\"\n",
    "surrogate": b"a = 1\nb = \"\xed\xa0\x80\"\n", "key_lines": '"""a""" = 1\n', "true_case": "a = True\n", "date": "[x]\na = 1979-05-27\n",
    "date_time": "a = 1979-05-27T07:32:00Z\n", "time": "a = 07:32:00\n", "inline": "a = { b = 1 }\n", "tables": "[[datasets]]\na = 1\n",
    "nested": "a = [[1, 2], [3]]\n", "key_dot": "\"a.b\" = 1\n", "key_empty": "\"\" = 1\n", "key_long": "k" * 200 + " = 1\n",
    "array_long": "a = [" + "1, " * 65 + "]\n", "word_long": "a = " + "1" * 300 + "\n", "entries": "".join(f"k{i} = {i}\n" for i in range(513)),
}
OURS = {"date", "date_time", "time", "inline", "tables", "nested", "key_dot", "key_empty", "key_long", "array_long", "entries", "too_large", "hex_too_large",
        "word_long", "escape_zero"}


def flatten(value, path, out):
    if isinstance(value, dict):
        for key, inner in value.items():
            flatten(inner, f"{path}.{key}" if path else key, out)
    elif isinstance(value, list):
        out.append(f"{path.replace(' ', '~')} array {len(value)}")
        for i, inner in enumerate(value):
            flatten(inner, f"{path}[{i}]", out)
    else:
        kind = {str: "string", bool: "bool", int: "integer", float: "number"}[type(value)]
        text = (value.encode().hex() or "-") if kind == "string" else str(value).lower() if kind == "bool" else repr(value)
        out.append(f"{path.replace(' ', '~')} {kind} {text}")
    return out


def main():
    for folder in ("golden/toml", "golden/bad-toml"):
        os.makedirs(folder, exist_ok=True)
    for name, text in GOOD.items():
        open(f"golden/toml/{name}.toml", "wb").write(text.encode())
        values = flatten(tomllib.loads(text.removeprefix("\ufeff")), "", [])
        open(f"golden/toml/{name}.txt", "w").write("".join(line + "\n" for line in values))
    for name, text in BAD.items():
        data = text if isinstance(text, bytes) else text.encode()
        open(f"golden/bad-toml/{name}.toml", "wb").write(data)
        try:
            tomllib.loads(data.decode())
            assert name in OURS, name
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            assert name not in OURS, name


main()
