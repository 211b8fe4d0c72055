"""How long `medpipe serve` takes for a request of one image, by how many clients ask at once; and its memory.

    python benchmarks/service_latency.py [REQUESTS]

MobileNetV2 at 224 px from a random start, 7 classes, with an out-of-distribution score, packaged as evaluate packages
it; JPEGs of 600 x 450 pixels (HAM10000's size) of noise as data URIs in JSON. The service runs in a process of its own,
the clients in another on the same cores: each sends its next request when it has the answer. REQUESTS (10,000) are sent
in all; memory is the service's resident set.
"""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import httpx
import machine
import numpy as np
import psutil
from PIL import Image

SIDE, CLASSES, CLIENTS = 224, ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"), (1, 8, 32)
MEBI = 2**20


def package(folder: Path) -> Path:
    import keras

    from medpipe.evaluation.ood import fit
    from medpipe.models import delivery, ood
    from medpipe.models.embedding import EMBEDDING, observed
    from medpipe.models.export import export
    from medpipe.serving import package

    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=scaled)
    pooled = keras.layers.GlobalAveragePooling2D(name=EMBEDDING)(base.output)
    model = keras.Model(image, keras.layers.Dense(len(CLASSES), activation="softmax")(pooled))
    plain = {"window": None, "frames": "refuse", "axis": None, "context": 0, "max_voxels": 1 << 20}
    images = {"task": "skin", "kind": "images", "square": False, "sizes": (SIDE,), "equalise": False}
    variant = images | {"decoding": plain, "mask_values": None}
    delivered = folder / "skin-mobilenetv2"
    delivered.mkdir()
    about = {"kind": "classifier", "classes": CLASSES, "inputs": ("skin-images",), "variants": (variant,)}
    about |= {"features": ((),), "stats": {}, "threshold": None, "settings": {}}
    delivery.Delivery(name=delivered.name, task="skin", **about).write(delivered, model)
    (delivered / delivery.GRAPH).write_bytes(export(observed(model)))
    embedding = np.random.default_rng(0).normal(size=(600, 1280))
    ood.write(fit(embedding[:300], np.arange(300) % len(CLASSES), embedding[300:]), delivered / ood.FILE)
    package.save(delivered, folder / "package", 25_000_000, {"flips": [], "temperature": 1.0, "rule": None})
    return folder / "package"


def bodies() -> list[bytes]:
    rng, found = np.random.default_rng(0), []
    for _ in range(16):
        coarse = Image.fromarray(rng.integers(0, 256, (45, 60, 3), dtype=np.uint8))
        coarse.resize((600, 450), Image.Resampling.BICUBIC).save(buffer := BytesIO(), "JPEG", quality=90)
        uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        found.append(json.dumps({"rows": [{"image": uri}]}).encode())
    return found


async def ask(address: str, clients: int, requests: int) -> tuple[list[float], float]:
    """Seconds of each request, and of all."""
    sent, took, todo = bodies(), [], iter(range(requests))

    async def one() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            for i in todo:
                start = time.perf_counter()
                headers = {"content-type": "application/json"}
                answer = await client.post("/predict", content=sent[i % len(sent)], headers=headers)
                took.append(time.perf_counter() - start)
                assert answer.json()["rows"][0]["error"] is None

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return took, time.perf_counter() - start


def main(requests: int) -> None:
    machine.describe()
    with tempfile.TemporaryDirectory() as name:
        made = "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import service_latency as s; "
        made += "s.package(Path(sys.argv[2]))"
        subprocess.run([sys.executable, "-c", made, str(Path(__file__).parent), name], check=True)
        with socket.socket() as opened:
            opened.bind(("127.0.0.1", 0))
            port = opened.getsockname()[1]
        start, address = time.perf_counter(), f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "medpipe.cli", "serve", f"{name}/package", "--port", str(port)]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=name)
        try:
            while True:
                try:
                    httpx.get(f"{address}/health")
                    break
                except httpx.TransportError:
                    assert server.poll() is None
                    time.sleep(0.05)
            print(f"The first answer comes {time.perf_counter() - start:.1f} s after the start.\n")
            asyncio.run(ask(address, 8, 200))
            process = psutil.Process(server.pid)
            before = process.memory_info().rss / MEBI
            print("| clients | requests | p50, ms | p99, ms | requests a second |\n|---|---|---|---|---|")
            for clients, share in zip(CLIENTS, (0.1, 0.4, 0.5), strict=True):
                count = int(share * requests)
                took, seconds = asyncio.run(ask(address, clients, count))
                p50, p99 = 1000 * np.quantile(took, [0.5, 0.99])
                print(f"| {clients} | {count} | {p50:.0f} | {p99:.0f} | {count / seconds:.0f} |", flush=True)
            after = process.memory_info().rss / MEBI
            print(f"\nMemory {before:.0f} MiB after 200 requests, {after:.0f} MiB after {requests} more.")
            print(f"Load by others at the end {os.getloadavg()[0]:.1f}.")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
