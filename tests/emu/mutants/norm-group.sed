# norm.cu norm: a group begins a channel late
s/if (++rest == p\.each) group++, rest = 0;/if (rest++ == p.each) group++, rest = 0;/
