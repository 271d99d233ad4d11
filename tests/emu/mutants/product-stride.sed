# product.cu conv_dx: a stride is looked at in y alone
s/if (y % part\.stride || x % part\.stride)/if (y % part.stride)/
