#!/bin/sh
# The rules of CONTRIBUTING.md that a machine can see. Speaks TAP; the sizes of files and functions are reported, not judged.
cd "$(dirname "$0")/.." || exit 1
number=0; bad=0
verdict() { # name, offending lines
    number=$((number + 1))
    if [ -z "$2" ]; then echo "ok $number - rules: $1"; else bad=1; echo "not ok $number - rules: $1"; echo "$2"; fi
}
sources=$(find ref kernels tests bench golden -name '*.[ch]' -o -name '*.cu' -o -name '*.cpp')

rooms="base io ops check nn model lora text diffusion data train cli"
later=$rooms; found=
for room in $rooms; do
    later=${later#"$room"}; later=${later# }
    for other in $later; do found="$found$(grep -n "#include \"$other/" ref/"$room"/*.[ch] /dev/null)"; done
    found="$found$(grep -n '#include "\(tests\|kernels\)' ref/"$room"/*.[ch] /dev/null | grep -v '^ref/ops/ops.c:')"
done
verdict "a room includes only rooms before it: $(echo $rooms | sed 's/ / <- /g')" "$found"
verdict "includes: a file's own header, ours, the system's, each by name" "$(awk -v mode=includes -f tests/rules.awk $(find ref kernels bench -name '*.[ch]' -o -name '*.cu'))"
verdict "no two empty lines, and an end of line at the end" "$(awk 'FNR == 1 { last = "x" } $0 == "" && last == "" { print FILENAME ":" FNR } { last = $0 }' $sources
    for f in $sources; do [ -z "$(tail -c 1 "$f")" ] || echo "$f: no end of line"; done)"
verdict "no line is longer than 160 columns" "$(awk 'length > 160 { print FILENAME ":" FNR ": " length " columns" }' $sources)"
verdict "layout: blanks, braces and stars where this house has them" "$(awk -v mode=layout -f tests/rules.awk $sources)"
verdict "no tabs, no blanks at line ends" "$(grep -nE "	| +$" $sources)"
verdict "nothing is left to do or commented out" "$(grep -nE '\<(TODO|FIXME|XXX)\>|^ *// *[a-z_]+\(.*;' $sources | grep -v '^tests/rules.sh')"
verdict "no code above the table of sets knows which set runs" "$(grep -nE '#if.*(CUDA|WITH_|SET_)' $(find ref -name '*.[ch]') | grep -v '^ref/ops/ops.c:')"
verdict "every header opens with what it is" "$(for h in $(find ref kernels bench -name '*.h'); do head -n 1 "$h" | grep -q "^/\* $(basename "$h") - " || echo "$h"; done)"
verdict "every test is in tests/LIST" "$(for t in tests/unit_*.c tests/*/main.c; do n=$(basename "${t%/main.c}" .c); grep -qE "^$n( |\$)" tests/LIST || echo "$n"; done)"
pages=$(ls README.md CONTRIBUTING.md CHANGELOG.md docs/*.md)
verdict "no line of the pages is longer than 160 columns, tables and listings excepted" \
    "$(awk 'FNR == 1 { listing = 0 } /^```/ { listing = !listing } length > 160 && !listing && !/^\|/ { print FILENAME ":" FNR ": " length " columns" }' $pages)"
missing() { # of `FILE:NAME` and `FILE` in the pages, those that are not there
    grep -oE '`(ref|kernels|tests|golden|bench|docs)/[A-Za-z0-9_./-]*(:[A-Za-z0-9_]+)?`' $pages | tr -d '`' | while IFS=: read -r page file name; do
        if [ ! -e "$file" ]; then echo "$page: $file: no such file"
        elif [ -n "$name" ] && ! grep -qw "$name" "$file"; then echo "$page: $file: has no $name"; fi
    done
    grep -oE '\]\([a-z][A-Za-z0-9_./-]*\)' $pages | tr -d ']()' | while IFS=: read -r page file; do
        [ -e "$(dirname "$page")/$file" ] || echo "$page: $file: a link to nothing"
    done
}
verdict "what the pages of docs speak of is there" "$(missing)"
stored() { find golden -type f ! -name '*.py' ! -name '*.pyc' ! -name '*.sh' ! -name '*.c' ! -name MANIFEST ! -name requirements.txt | cut -d/ -f2- | sort; }
verdict "golden/MANIFEST has every golden file as it is (golden/manifest.sh writes it)" "$(sh golden/manifest.sh | diff golden/MANIFEST - | grep '^[<>]'
    grep -v '^#' golden/MANIFEST | cut -c67- | sort >"${TMPDIR:-/tmp}/manifest.$$"; stored | diff - "${TMPDIR:-/tmp}/manifest.$$"; rm "${TMPDIR:-/tmp}/manifest.$$")"
echo "1..$number"
wc -l $(find ref kernels bench -name '*.c' -o -name '*.cu') | sort -rn | awk 'NR > 1 && $1 > 500 { print "# " $2 ": " $1 " lines" }'
awk -v mode=functions -f tests/rules.awk $(find ref kernels bench -name '*.c' -o -name '*.cu')
exit $bad
