# ref/io/toml.c: \\u takes fewer digits than it steps over
s/if ((int)strlen(digit) < count || !code/if (!code/
