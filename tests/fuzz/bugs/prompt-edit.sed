# ref/text/edit.c: a bracket around one that is closed by another kind is closed, too
s/            else opened = 0;//
