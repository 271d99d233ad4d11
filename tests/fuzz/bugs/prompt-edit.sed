# ref/text/edit.c: a bracket is closed by one of another kind
s/if (text\[from\] == (text\[i\] == ')' ? '(' : '\[')) close\[from\] = i;/if (text[from]) close[from] = i;/
