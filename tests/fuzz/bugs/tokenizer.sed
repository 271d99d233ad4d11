# ref/text/tokenizer.c: lower case is thought never to be longer
s/malloc(2 \* (size_t)length + 1), \*p = out/malloc((size_t)length + 1), *p = out/
