# ref/io/exif.c: as many entries are read as the directory says
s/i < said \&\& i < entries/i < said/
