# product.cu linear: the third low-rank segment is left out
s/if (seg\.x\.p) p\.part/if (seg.x.p \&\& \&seg != \&op->seg[2]) p.part/
