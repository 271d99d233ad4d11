# ref/io/pickle.c: a memo place that was never written is given out
s/if (place >= m->memo_room || !m->memo\[place\]) return damaged(m);/if (place >= m->memo_room) return damaged(m);/
