"""Embedding side by side: ours, OpenVINO, ONNX Runtime, CTranslate2 and sentence-transformers, same texts, one run.

    python bench/embed.py --px-bin build/release/bin [--tokens 6000] [--rounds 2] [--means 124] [--threads 1] [--engines px-int8,openvino-int8]

Texts of 16, 124 and 250 tokens on average, one and two threads; tokenizing included on both sides; every engine gets batches of texts of
like length, the better of 8 and 32 texts (ours takes the texts as they come). Tokens a CPU-second (of the whole process) and a second of the
clock, the best of the rounds; cosine to sentence-transformers' fp32; time to load; peak memory. In a round every engine has its turn, each
in a process of its own, so that a busy moment of the machine meets all of them; an engine that gives nothing in --patience seconds is out.
OpenVINO int8: weights and activations quantised by nncf on texts like those measured. ONNX Runtime int8: its dynamic quantisation.
The share is of the processor's peak in that format: products that touch nothing but registers, in the same run, at 22.6 MFLOP a token.
"""
import argparse
import csv
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "retrieval"
FLOP_PER_TOKEN = 22.6e6
MEANS = (16, 124, 250)
TOKENS_MAX = 256
OURS = ("px-int8", "px-bf16", "px-fp32")
REFERENCE = "sentence-transformers-f32"
PEERS = ("openvino-int8", "openvino-bf16", "openvino-f32", "onnxruntime-int8", "onnxruntime-f32", "ctranslate2-int8", REFERENCE)


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def texts_of(tokenizer, mean, tokens, seed=4):
    """Pieces of real documents, their lengths spread about the mean, cut between words."""
    csv.field_size_limit(1 << 30)
    with open(DATA / "demo_fed" / "corpus.csv", newline="", encoding="utf-8") as file:
        documents = [row["text"] for row in csv.DictReader(file) if row["text"]]
    source = random.Random(seed)
    texts, total = [], 0
    while total < tokens:
        words = source.choice(documents).split()
        wanted = max(4, min(TOKENS_MAX, round(source.gauss(mean, mean / 4 if mean < 200 else 6))))
        start = source.randrange(max(1, len(words) - wanted))
        text = " ".join(words[start:start + wanted])
        offsets = tokenizer.encode(text).offsets
        if len(offsets) > wanted:
            text = text[:offsets[wanted - 2][1]]
        texts.append(text)
        total += len(tokenizer.encode(text).ids)
    return texts


# ---- the peers, each in a process of its own ---------------------------------------------------------
def tokenize(model, tokenizer, texts):
    encoded = tokenizer.encode_batch(texts)
    longest = max(len(one.ids) for one in encoded)
    import numpy as np
    ids = np.zeros((len(texts), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(encoded):
        ids[row, :len(one.ids)] = one.ids
        mask[row, :len(one.ids)] = 1
    return ids, mask


def unit_means(states, mask):
    import numpy as np
    sums = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def transformer_of(model):
    """The torch model and its wrapper with plain inputs and outputs."""
    import torch
    from transformers import AutoModel

    class States(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask):
            return self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    return States()


def prepare(args, calibration):
    """Converts the model once for every peer."""
    import numpy as np
    import torch
    from tokenizers import Tokenizer
    states = transformer_of(str(args.model))
    example = (torch.ones(2, 8, dtype=torch.int64), torch.ones(2, 8, dtype=torch.int64))
    import nncf
    import openvino
    converted = openvino.convert_model(states, example_input=example)
    openvino.save_model(converted, args.work / "f32.xml", compress_to_fp16=False)
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_padding()
    names = [port.get_any_name() for port in converted.inputs]
    samples = [dict(zip(names, tokenize(args.model, tokenizer, [text]))) for text in calibration]
    quantized = nncf.quantize(converted, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
    openvino.save_model(quantized, args.work / "int8.xml")
    axes = {"input_ids": {0: "texts", 1: "tokens"}, "attention_mask": {0: "texts", 1: "tokens"}}
    torch.onnx.export(states, example, str(args.work / "f32.onnx"), input_names=list(axes), output_names=["states"],
                      dynamic_axes={**axes, "states": {0: "texts", 1: "tokens"}}, dynamo=False)
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(str(args.work / "f32.onnx"), str(args.work / "int8.onnx"), weight_type=QuantType.QInt8)
    import ctranslate2
    ctranslate2.converters.TransformersConverter(str(args.model)).convert(str(args.work / "ctranslate2"), quantization="int8")
    assert np.isfinite(states(*example).detach().numpy()).all()


def open_peer(name, args, threads):
    """A function of texts that gives unit vectors."""
    import numpy as np
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS_MAX)
    engine, precision = name.rsplit("-", 1)
    if engine == "openvino":
        import openvino
        hint = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
        compiled = openvino.Core().compile_model(str(args.work / ("int8.xml" if precision == "int8" else "f32.xml")), "CPU", hint)

        def run(texts):
            ids, mask = tokenize(args.model, tokenizer, texts)
            return unit_means(compiled([ids, mask])[0], mask)
    elif engine == "onnxruntime":
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(args.work / f"{precision}.onnx"), options, providers=["CPUExecutionProvider"])

        def run(texts):
            ids, mask = tokenize(args.model, tokenizer, texts)
            return unit_means(session.run(None, {"input_ids": ids, "attention_mask": mask})[0], mask)
    elif engine == "ctranslate2":
        import ctranslate2
        encoder = ctranslate2.Encoder(str(args.work / "ctranslate2"), device="cpu", intra_threads=threads, compute_type=precision)

        def run(texts):
            ids = [one.ids for one in tokenizer.encode_batch(texts)]
            states = np.array(encoder.forward_batch(ids).last_hidden_state)
            mask = np.array([[1] * len(one) + [0] * (states.shape[1] - len(one)) for one in ids])
            return unit_means(states, mask)
    else:
        import torch
        from sentence_transformers import SentenceTransformer
        torch.set_num_threads(threads)
        model = SentenceTransformer(str(args.model), device="cpu")

        def run(texts):
            return model.encode(texts, batch_size=len(texts), normalize_embeddings=True, show_progress_bar=False)
    return run


def measure_peer(args):
    import numpy as np
    work = json.loads(args.work.joinpath("texts.json").read_text(encoding="utf-8"))
    start = time.perf_counter()
    run = open_peer(args.peer, args, args.peer_threads)
    run(["first"])
    result = {"load_seconds": time.perf_counter() - start, "lengths": {}}
    for mean, texts in work.items():
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        vectors = np.zeros((len(texts), 384), dtype=np.float32)
        best = None
        for batch in (8, 32):
            cpu, wall = time.process_time(), time.perf_counter()
            for at in range(0, len(order), batch):
                some = order[at:at + batch]
                vectors[some] = run([texts[i] for i in some])
            spent = (time.process_time() - cpu, time.perf_counter() - wall)
            best = spent if best is None else tuple(map(min, best, spent))
        result["lengths"][mean] = best
        np.save(args.work / f"{args.peer}-{mean}.npy", vectors)
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    result["memory_mb"] = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps(result))


def run_peer(args, peer, threads):
    """What measure_peer found in a process of its own, mean by mean; None: it gave nothing in time."""
    import numpy as np
    environment = {**os.environ, **{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}}
    command = [sys.executable, __file__, "--px-bin", args.px_bin, "--model", args.model, "--peer", peer, "--peer-threads", str(threads), "--work", args.work]
    try:
        out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=args.patience).stdout
    except subprocess.TimeoutExpired:
        return None
    found = json.loads(out.decode().strip().splitlines()[-1])
    return {mean: Measured(peer, *spent, np.load(args.work / f"{peer}-{mean}.npy"), found["load_seconds"], found["memory_mb"])
            for mean, spent in found["lengths"].items()}


# ---- ours ------------------------------------------------------------------------------------------
def run_ours(args, precision, work, threads):
    import numpy as np
    found = {}
    for mean, texts in work.items():
        given = "".join(json.dumps(text) + "\n" for text in texts).encode()
        command = [args.px_bin / "tool_embed_encode", args.model, "--precision", precision, "--threads", str(threads), "--cache", args.work / "cache"]
        # The first start packs the weights, the measured one maps them.
        vectors = subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout
        out = json.loads(subprocess.run([*command, "--measure", "--rounds", "2"], input=given, stdout=subprocess.PIPE, check=True).stdout)
        found[mean] = Measured(f"px-{precision} ({out['kernel']})", out["cpu_seconds"], out["wall_seconds"],
                               np.frombuffer(vectors, dtype="<f4").reshape(len(texts), -1), out["load_seconds"], out["memory_mb"],
                               out["products_a_word"], out["peak_gflops"])
    return found


@dataclasses.dataclass
class Measured:
    name: str
    cpu: float
    wall: float
    vectors: object
    load: float
    memory: float
    ratio: int | None = None
    peak: float = 0.0

    def better_of(self, other):
        return dataclasses.replace(self, cpu=min(self.cpu, other.cpu), wall=min(self.wall, other.wall), load=min(self.load, other.load),
                                   peak=max(self.peak, other.peak)) if other else self


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=6000, help="about as many in the texts of each length")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--means", type=lambda text: [int(part) for part in text.split(",")], default=list(MEANS))
    parser.add_argument("--threads", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2])
    parser.add_argument("--engines", type=lambda text: text.split(","), default=[*OURS, *PEERS], help=", ".join([*OURS, *PEERS]))
    parser.add_argument("--patience", type=float, default=90)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--peer-threads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.model = (args.model or args.px_bin / "../share/px/models/all-MiniLM-L6-v2").resolve()
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1", TRANSFORMERS_VERBOSITY="error")
    if args.peer:
        return measure_peer(args)
    if unknown := [name for name in args.engines if name not in (*OURS, *PEERS)]:
        parser.error(f"no engine '{unknown[0]}'; engines: {', '.join([*OURS, *PEERS])}")

    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with tempfile.TemporaryDirectory() as folder:
        args.work = pathlib.Path(folder)
        work = {str(mean): texts_of(tokenizer, mean, args.tokens if mean > 50 else args.tokens // 2) for mean in args.means}
        tokens = {mean: sum(len(one.ids) for one in tokenizer.encode_batch(texts)) for mean, texts in work.items()}
        (args.work / "texts.json").write_text(json.dumps(work), encoding="utf-8")
        prepare(args, texts_of(tokenizer, 124, 6000, seed=9))
        for threads in args.threads:
            reference = {mean: one.vectors for mean, one in run_peer(args, REFERENCE, threads).items()}
            best, out = {}, set()
            for _ in range(args.rounds):
                for engine in args.engines:
                    if engine in out:
                        continue
                    found = run_ours(args, engine.removeprefix("px-"), work, threads) if engine in OURS else run_peer(args, engine, threads)
                    if found is None:
                        out.add(engine)
                        continue
                    for mean, one in found.items():
                        best[mean, engine] = one.better_of(best.get((mean, engine)))
            peak = max((one.peak for one in best.values()), default=0)
            # At once, so that an interrupted run still says something.
            print(f"workload: pieces of the documents of demo_fed; unit: tokens a second; machine: {cpu_name()}, register-only f32 peak of a thread "
                  f"{peak:.0f} GFLOPS; OpenVINO int8 quantised by nncf (weights and activations)")
            for mean in work:
                print(f"{threads} thread{'s' if threads > 1 else ''}, {len(work[mean])} texts of {tokens[mean] / len(work[mean]):.0f} tokens on average")
                for one in sorted((one for (at, _), one in best.items() if at == mean), key=lambda one: one.cpu):
                    cosine = (one.vectors * reference[mean]).sum(axis=1)
                    share = f" {tokens[mean] / one.cpu * FLOP_PER_TOKEN / peak / 1e9 / one.ratio:6.1%} of its peak" if one.ratio else ""
                    print(f"  {one.name:28} {tokens[mean] / one.cpu:8,.0f} a CPU-second {tokens[mean] / one.wall:8,.0f} a second; cosine mean "
                          f"{cosine.mean():.5f} min {cosine.min():.5f}; loaded in {one.load * 1000:6,.0f} ms; {one.memory:5,.0f} MB{share}")
                for engine in sorted(out):
                    print(f"  {engine:28} nothing in {args.patience:.0f} s")


if __name__ == "__main__":
    main()
