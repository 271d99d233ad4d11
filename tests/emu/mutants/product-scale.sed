# product.cu linear: what was summed in the measure of one part is taken for that of the next
s/change = scale \/ now;/change = now \/ scale;/
