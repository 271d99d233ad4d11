# norm.cu norm: eps is added to the root
s/(float)(1 \/ sqrt((variance < 0 ? 0 : variance) + (double)p\.eps))/(float)(1 \/ (sqrt(variance < 0 ? 0 : variance) + (double)p.eps))/
