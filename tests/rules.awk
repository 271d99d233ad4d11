# rules.awk - the order of includes: a file's own header, ours by name, then the system's by name; only the block at the top counts. And the size of functions.
# `own` of cmd_help.c may be cmd.h. mode "includes": offending lines; mode "functions": those of more than 60 lines.
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
