# ref/cli/options.c: any key of network_args is thought to be one
s/if (!key->name) return bad_value(option, word);//
