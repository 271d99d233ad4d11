# norm.cu norm_dx: the last run of rows is not added to the means
s/i < runs \* p\.each; i += THREADS/i < (runs > 1 ? runs - 1 : 1) * p.each; i += THREADS/
