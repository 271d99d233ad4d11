# ref/io/image.c: a picture on its side keeps its width
s/orientation > 4 ? image_new(image, h, w)/orientation > 8 ? image_new(image, h, w)/
