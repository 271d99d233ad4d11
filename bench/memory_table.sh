#!/bin/sh
# The table of docs/gpu.md: the memory that a LoRA step of SD 1.5 takes of a card, by resolution, batch, rank and checkpointing. memory_table.sh [SDLORA]
sdlora=${1:-./sdlora}
echo "| resolution | batch | rank | nothing again | feed-forward layers again | blocks again |"
echo "|---|---|---|---|---|---|"
for size in 512,512 512,768 768,768; do
    for batch in 1 2 4; do
        for rank in 4 32 128; do
            if [ $batch -gt 1 ] && [ $rank != 32 ]; then continue; fi
            "$sdlora" plan --model sd15 --set cuda --resolution $size --train_batch_size $batch --network_dim $rank |
                awk -v size="$size" -v batch=$batch -v rank=$rank '/^memory/ { a = $2 " " $3 } / with gradient/ { b[n++] = $1 " " $2 }
                    END { sub(",", "x", size); printf "| %s | %s | %s | %s | %s | %s |\n", size, batch, rank, a, b[0], b[1] }'
        done
    done
done
