# ref/lora/peft.c: a backslash at the end of a key is stepped over
s/if (!at\[1\] || isalnum/if (isalnum/
