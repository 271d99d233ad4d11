# ref/model/unet.c: no heads at all divide any number of channels
s/if (c->heads\[i\] < 1 || c->channels\[i\] % c->heads\[i\])/if (c->channels[i] % c->heads[i])/
