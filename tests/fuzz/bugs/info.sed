# ref/cli/outline.c: control characters are shown as they are
s/if (code < ' ' || (code >= 127 \&\& code < 160)) code = '?';//
