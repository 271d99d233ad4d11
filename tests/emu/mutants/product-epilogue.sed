# product.cu linear: bias before the scale
s/leave_by_rows<WM>(acc, scale, s/leave_by_rows<WM>(acc, 1, s/
