# rules.awk - the order of includes: a file's own header, ours by name, then the system's by name; only the block at the top counts. And the size of functions.
# `own` of cmd_help.c may be cmd.h. And how blanks and braces are set. mode "includes", "layout": offending lines; "functions": those of more than 60 lines.
FNR == 1 { top = 1; first = 1; last = ""; system_ = ""; stem = FILENAME; sub(/.*\//, "", stem); sub(/\.[a-z]+$/, "", stem); start = 0 }
mode == "includes" && top && /^#include/ {
    name = $2; quoted = name ~ /^"/; gsub(/["<>]/, "", name)
    base = name; sub(/.*\//, "", base); sub(/\.h$/, "", base)
    if (quoted && first && index(stem, base) == 1) { first = 0; next }
    first = 0
    if (name ~ /\.inc$/) next
    if (quoted && system_ != "") print FILENAME ":" FNR ": \"" name "\" after <" system_ ">"
    else if (quoted && name < last) print FILENAME ":" FNR ": " name " after " last
    else if (!quoted && name < system_) print FILENAME ":" FNR ": <" name "> after <" system_ ">"
    if (quoted) last = name; else system_ = name
    next
}
!/^#(include|ifndef|define [A-Z0-9_]+_H$)/ && !/^( \*|\/\*|$)/ { top = 0 }
mode == "functions" && /^[A-Za-z_].*\)$/ { name = $0 }
mode == "functions" && /^\{$/ { start = FNR }
mode == "functions" && /^\}/ { if (start && FNR - start > 61) print "# " FILENAME ": " FNR - start - 1 " lines: " name; start = 0 }
mode == "layout" {
    code = $0
    gsub(/"([^"\\]|\\.)*"/, "\"\"", code); gsub(/'([^'\\]|\\.)*'/, "''", code); sub(/\/\*.*/, "", code)
    if (code ~ /^ \*/) next
    if (code ~ /(^|[^a-z_A-Z0-9])(if|for|while|switch)\(/) print FILENAME ":" FNR ": a blank goes behind the keyword: " $0
    if (code ~ /(if|for|while|switch) \(.*\)\{$/) print FILENAME ":" FNR ": a blank goes before the brace: " $0
    if (code ~ /^[a-z][^={}]*\) \{$/) print FILENAME ":" FNR ": a function's brace has a line of its own: " $0
    if (code ~ /^ +(if|for|while|switch|do|else).*\)$/) waits = FNR
    if (code ~ /^ +\{$/ && waits == FNR - 1) print FILENAME ":" FNR ": a block's brace ends the line that opens it"
    if (code ~ /^ *else/ && last ~ /^ *\}$/) print FILENAME ":" FNR ": else goes behind the brace: " $0
    if (code ~ /^typedef .*\*[A-Za-z]+;$/) print FILENAME ":" FNR ": a typedef of a pointer: " $0
    if (code ~ /(char|int|float|double|void|real|[A-Z][a-z]+)\* [a-z]/) print FILENAME ":" FNR ": a star goes with the name: " $0
    last = code
}
