#!/bin/sh
# The experiments of the README's table of single settings: Flickr8k's dev split, six epochs, one setting changed in each.
# After `make preset NAME=flickr8k-features` and a commit: trains the recipe as it is, and queues the others for
# `dvc queue start -j 2` (on two cores with OMP_NUM_THREADS=1); `make experiments` shows what they came to.
set -e

SHORT="-S evaluate.split=dev -S train_lstm.epochs=6 -S train_clipcap.epochs=6 -S generate.beam_size=3 -S generate.no_repeat_ngram=0"
SHORT="$SHORT -S generate.consensus=0 -S model.scratch.layers=4 -S model.scratch.width=256"

try() {
    name=$1
    shift
    dvc exp run --queue --name "$name" $SHORT "$@" evaluate
}

dvc exp run --name as-it-is $SHORT evaluate
try beam-1 -S generate.beam_size=1
try beam-5 -S generate.beam_size=5
try penalty-.4 -S generate.length_penalty=0.4
try penalty-1 -S generate.length_penalty=1.0
try no-repeat-3 -S generate.no_repeat_ngram=3
try lstm-no-merge -S lstm.merge=false
try lstm-no-image-dropout -S lstm.image_dropout=0
try lstm-ema -S train_lstm.ema=0.999
try lstm-untied -S lstm.tie_weights=false
try lstm-no-smoothing -S train_lstm.label_smoothing=0
try lstm-narrow -S lstm.embed_dim=256 -S lstm.hidden_size=256
try lstm-batch-32 -S train_lstm.batch_size=32
try clipcap-no-image-dropout -S model.image_dropout=0
try clipcap-vocabulary-1000 -S model.scratch.vocab_size=1000
try clipcap-deep -S model.scratch.layers=8 -S model.scratch.width=192
try clipcap-wide -S model.scratch.layers=2 -S model.scratch.width=384
try clipcap-no-smoothing -S train_clipcap.label_smoothing=0
try clipcap-ema -S train_clipcap.ema=0.999
