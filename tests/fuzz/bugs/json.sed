# ref/io/json.c: an array is read one value further than there is room
s/if (count == max) json_fail/if (count > max) json_fail/; s/return count < max;/return count <= max;/
