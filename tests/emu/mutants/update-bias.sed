# update.cu update: the second moment is not corrected
s/(sqrtf(v) \/ r\.root_bias2 + r\.eps)/(sqrtf(v) + r.eps)/
