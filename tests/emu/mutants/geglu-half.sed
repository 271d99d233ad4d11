# act.cu geglu_dx: the halves are taken from y, not from x
s/b = load<V>(from + dy\.c), g/b = load<V>(from), g/
