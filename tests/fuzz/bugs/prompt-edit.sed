# ref/text/edit.c: the end of a bracket is looked for behind the text
s/else if ((\*p == '(' || \*p == '\[') \&\& !(p = close_of(p, end))) return NULL;/else if (*p == '(' || *p == '[') p = close_of(p, end);/
