"""A stand-in for Qdrant's REST server, for tests: no package holds the real one.

    python qdrant_server.py [--port N] [--api-key KEY] [--api FILE]       prints "qdrant test server listens on http://127.0.0.1:PORT"

What is whose:
  Qdrant's own engine (PyPI qdrant-edge-py) stores points, filters, searches (dense, sparse, fusion), scrolls, counts, facets.
  Qdrant's own description (openapi.json) decides which requests and answers are well-formed. Stricter than the server, which ignores
  unknown fields: they are refused here, so that a misspelt one is seen.
  Plain code here: HTTP, the key, names of collections and aliases, info, numbers of operations, words of errors (as in
  transcripts.jsonl, which tests/peers/qdrant_transcripts.py replays), snapshots as a tar file. No sharding, consensus, optimizers.

Faults for tests, outside of Qdrant's paths: PUT /_test/fault {"nth": 3, "kind": "503"} makes the third request from now go wrong once; kinds:
a status (429, 500, 503), "cut" (the connection ends, nothing was done), "lost" (done, but the reply is cut). GET /_test/requests gives
[method, path, bytes in, bytes out] of each request since the last DELETE of it.
"""

import argparse
import collections
import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import socket
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
import uuid

try:
    import jsonschema_rs
    import numpy
    import orjson
    import qdrant_edge as edge
except ImportError as error:
    sys.exit(f"{error.name} is not installed: run tools/setup.sh test")

VERSION = "1.18.3"
API = pathlib.Path(__file__).resolve().parents[4] / "shared/data/suites/qdrant/openapi.json"
REQUEST_BYTES_MAX = 32 << 20  # the server's default


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


def missing(name):
    return Refused(404, f"Not found: Collection `{name}` doesn't exist!")


# ---------------------------------------------------------------- openapi.json


class Api:
    """Validators of requests and answers by method and path."""

    def __init__(self, file):
        document = json.loads(pathlib.Path(file).read_text())
        self.schemas = {name: self.translate(schema, True) for name, schema in document["components"]["schemas"].items()}
        self.routes = []
        for template, methods in document["paths"].items():
            pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))
            for method, operation in methods.items():
                body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
                answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema")
                parameters = {p["name"]: p for p in operation.get("parameters", []) if p["in"] == "query"}
                self.routes.append((method.upper(), pattern, parameters, body and self.validator(body), answer and self.validator(answer), template))

    def translate(self, node, strict):
        """OpenAPI 3.0's nullable as JSON Schema has it; objects know their fields."""
        if isinstance(node, list):
            return [self.translate(item, strict) for item in node]
        if not isinstance(node, dict):
            return node
        if set(node) <= {"nullable", "description"} and node.get("nullable"):
            return {"type": "null"}
        result = {key: self.translate(value, strict and key != "allOf") for key, value in node.items() if key not in ("nullable", "example", "format", "discriminator")}
        if isinstance(result.get("properties"), dict) and "additionalProperties" not in result and strict and "oneOf" not in node and "anyOf" not in node:
            result["additionalProperties"] = False
        if node.get("nullable"):
            return {"anyOf": [{"type": "null"}, result]}
        return result

    def validator(self, schema):
        return jsonschema_rs.validator_for({"$schema": "https://json-schema.org/draft/2020-12/schema", **self.translate(schema, True),
                                            "components": {"schemas": self.schemas}})

    def route(self, method, path):
        for known, pattern, *rest in self.routes:
            match = pattern.fullmatch(path)
            if known == method and match:
                return match, rest
        return None, None


# ---------------------------------------------------------------- JSON to the engine's values


def vector_of(value):
    if isinstance(value, dict) and "indices" in value:
        if len(set(value["indices"])) != len(value["indices"]):
            raise Refused(422, "Validation error in JSON body: [indices: must be unique]")
        if len(value["indices"]) != len(value["values"]):
            raise Refused(422, "Validation error in JSON body: [values: must be the same length as indices]")
        return edge.SparseVector(value["indices"], [float(v) for v in value["values"]])
    return [float(v) for v in value]


def point_id(value):
    if isinstance(value, int):
        return value
    try:
        return uuid.UUID(value)
    except ValueError:
        raise Refused(400, f"Format error in JSON body: value {value} is not a valid point ID, valid values are either an unsigned integer or a UUID") from None


def id_json(value):
    return value if isinstance(value, int) else str(value)


def conditions(values):
    if values is None:
        return None
    return [condition(value) for value in (values if isinstance(values, list) else [values])]


def condition(value):
    if "key" in value and "filter" not in value:
        match, bounds = value.get("match"), value.get("range")
        if match is not None:
            if "value" in match:
                match = edge.MatchValue(match["value"])
            elif "any" in match:
                match = edge.MatchAny(match["any"])
            elif "except" in match:
                match = edge.MatchExcept(match["except"])
            else:
                raise Refused(501, f"the test server does not know the match {match}")
        if bounds is not None:
            dates = any(isinstance(b, str) for b in bounds.values())
            bounds = (edge.RangeDateTime if dates else edge.RangeFloat)(**bounds)
        return edge.FieldCondition(key=value["key"], match=match, range=bounds, is_empty=value.get("is_empty"), is_null=value.get("is_null"))
    if "is_empty" in value:
        return edge.IsEmptyCondition(value["is_empty"]["key"])
    if "is_null" in value:
        return edge.IsNullCondition(value["is_null"]["key"])
    if "has_id" in value:
        return edge.HasIdCondition({point_id(i) for i in value["has_id"]})
    if "has_vector" in value:
        return edge.HasVectorCondition(value["has_vector"])
    if set(value) <= {"must", "should", "must_not", "min_should"}:
        return filter_of(value)
    raise Refused(501, f"the test server does not know the condition {value}")


def filter_of(value):
    if value is None:
        return None
    return edge.Filter(must=conditions(value.get("must")), should=conditions(value.get("should")), must_not=conditions(value.get("must_not")))


def params_of(value):
    if value is None:
        return None
    quantization = value.get("quantization")
    return edge.SearchParams(hnsw_ef=value.get("hnsw_ef"), exact=value.get("exact", False), indexed_only=value.get("indexed_only", False),
                             quantization=quantization and edge.QuantizationSearchParams(**quantization))


def numbers(vector):
    """Shortest digits that give the same 32-bit float, as the server prints them."""
    if isinstance(vector, dict):
        return {name: numbers(part) for name, part in vector.items()}
    if isinstance(vector, edge.SparseVector):
        return {"indices": list(vector.indices), "values": numpy.asarray(vector.values, dtype=numpy.float32)}
    return numpy.asarray(vector, dtype=numpy.float32)


# ---------------------------------------------------------------- collections

INDEX_TYPES = {"keyword": (edge.PayloadSchemaType.Keyword, "KeywordIndexParams"), "integer": (edge.PayloadSchemaType.Integer, "IntegerIndexParams"),
               "float": (edge.PayloadSchemaType.Float, "FloatIndexParams"), "bool": (edge.PayloadSchemaType.Bool, "BoolIndexParams"),
               "datetime": (edge.PayloadSchemaType.Datetime, "DatetimeIndexParams"), "uuid": (edge.PayloadSchemaType.Uuid, "UuidIndexParams")}


class Collection:
    def __init__(self, folder, name, request):
        self.name, self.folder, self.lock = name, folder / name, threading.RLock()
        vectors = request.get("vectors") or {}
        if "size" in vectors:
            vectors = {"": vectors}
        self.dense = vectors
        self.sparse = request.get("sparse_vectors") or {}
        self.request = request
        datatypes = {"float32": edge.VectorStorageDatatype.Float32, "float16": edge.VectorStorageDatatype.Float16, "uint8": edge.VectorStorageDatatype.Uint8}
        quantization = (request.get("quantization_config") or {}).get("scalar")
        config = edge.EdgeConfig(
            vectors={key: edge.EdgeVectorParams(size=v["size"], distance=getattr(edge.Distance, v["distance"]), on_disk=v.get("on_disk"),
                                                datatype=datatypes.get(v.get("datatype"))) for key, v in vectors.items()},
            sparse_vectors={key: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf if v.get("modifier") == "idf" else None,
                                                             on_disk=(v.get("index") or {}).get("on_disk")) for key, v in self.sparse.items()},
            on_disk_payload=request.get("on_disk_payload"),
            quantization_config=quantization and edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, quantile=quantization.get("quantile"),
                                                                               always_ram=quantization.get("always_ram")))
        self.folder.mkdir(parents=True)
        self.shard = edge.EdgeShard.create(str(self.folder), config)
        self.operation = 0
        self.versions = {}
        self.indexes = {}

    def close(self):
        self.shard.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def using(self, name):
        name = name or ""
        if name not in self.dense and name not in self.sparse:
            raise Refused(400, f"Wrong input: Not existing vector name error: {name}")
        return name

    def done(self, wait):
        return {"operation_id": self.operation, "status": "completed" if wait else "acknowledged"}

    def create_index(self, request, wait):
        schema = request["field_schema"]
        kind = schema if isinstance(schema, str) else schema["type"]
        params = {} if isinstance(schema, str) else {k: v for k, v in schema.items() if k != "type"}
        if kind not in INDEX_TYPES:
            raise Refused(501, f"the test server does not know payload indexes of type {kind}")
        self.operation += 2
        known, maker = INDEX_TYPES[kind]
        self.shard.update(edge.UpdateOperation.create_field_index(request["field_name"], getattr(edge, maker)(**params) if params else known))
        self.indexes[request["field_name"]] = {"data_type": kind, **({"params": schema} if not isinstance(schema, str) else {})}
        return self.done(wait)

    def upsert(self, request, wait):
        points = []
        for point in request["points"]:
            identity = point_id(point["id"])
            vectors = point["vector"]
            if not isinstance(vectors, dict):
                vectors = {"": vectors}
            for name, vector in vectors.items():
                if name not in self.dense and name not in self.sparse:
                    raise Refused(400, f"Wrong input: Not existing vector name error: {name}")
                if name in self.dense and len(vector) != self.dense[name]["size"]:
                    self.operation += 1  # the shard finds out, and has counted
                    raise Refused(400, f"Wrong input: Vector dimension error: expected dim: {self.dense[name]['size']}, got {len(vector)} for vector '{name}'")
            points.append(edge.Point(identity, {name: vector_of(vector) for name, vector in vectors.items()}, point.get("payload") or {}))
        self.operation += 1
        if points:
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        for point in points:
            self.versions[str(point.id)] = self.operation
        return self.done(wait)

    def chosen(self, request):
        """Ids of {"points": …} or {"filter": …}."""
        if request.get("points") is not None:
            return [point_id(i) for i in request["points"]]
        return [record.id for record in self.all(filter_of(request["filter"]))]

    def all(self, condition_filter):
        offset, found = None, []
        while True:
            records, offset = self.shard.scroll(edge.ScrollRequest(offset=offset, limit=10_000, filter=condition_filter, with_payload=False, with_vector=False))
            found += records
            if offset is None:
                return found

    def set_payload(self, request, wait, overwrite=False):
        ids = self.chosen(request)
        self.operation += 1
        if ids:
            make = edge.UpdateOperation.overwrite_payload if overwrite else edge.UpdateOperation.set_payload
            self.shard.update(make(ids, request["payload"], request.get("key")))
        return self.done(wait)

    def delete_payload(self, request, wait):
        ids = self.chosen(request)
        self.operation += 1
        if ids:
            self.shard.update(edge.UpdateOperation.delete_payload(ids, request["keys"]))
        return self.done(wait)

    def delete(self, request, wait):
        ids = self.chosen(request)
        self.operation += 1
        if ids:
            self.shard.update(edge.UpdateOperation.delete_points(ids))
        return self.done(wait)

    def batch(self, request, wait):
        done = []
        for operation in request["operations"]:
            (kind, value), = operation.items()
            method = {"upsert": self.upsert, "set_payload": self.set_payload, "delete_payload": self.delete_payload, "delete": self.delete}.get(kind)
            if method is None:
                raise Refused(501, f"the test server does not know the operation {kind}")
            done.append(method(value, wait))
        return done

    def query_of(self, value, using):
        if isinstance(value, dict) and "fusion" in value:
            return edge.Fusion.Rrf(k=2) if value["fusion"] == "rrf" else edge.Fusion.Dbsf()
        if isinstance(value, dict) and "nearest" in value:
            value = value["nearest"]
        if not (isinstance(value, list) or (isinstance(value, dict) and "indices" in value)):
            raise Refused(501, f"the test server does not know the query {str(value)[:100]}")
        using = self.using(using)
        if using in self.dense and len(value) != self.dense[using]["size"]:
            raise Refused(400, f"Wrong input: Vector dimension error: expected dim: {self.dense[using]['size']}, got {len(value)}")
        return edge.Query.Nearest(vector_of(value), using)

    def query_request(self, request):
        prefetch = request.get("prefetch") or []
        prefetch = prefetch if isinstance(prefetch, list) else [prefetch]
        parts = [edge.Prefetch(limit=p.get("limit", 10), query=self.query_of(p["query"], p.get("using")), filter=filter_of(p.get("filter")),
                               params=params_of(p.get("params")), prefetches=[]) for p in prefetch]
        return edge.QueryRequest(limit=request.get("limit", 10), offset=request.get("offset") or 0, query=self.query_of(request["query"], request.get("using")),
                                 prefetches=parts, with_vector=request.get("with_vector", False), with_payload=request.get("with_payload", False),
                                 filter=filter_of(request.get("filter")), score_threshold=request.get("score_threshold"), params=params_of(request.get("params")))

    def query(self, requests):
        for request in requests:
            if request.get("limit") == 0:
                raise Refused(422, "Validation error in JSON body: [internal.limit: value 0 invalid, must be 1 or larger]")
        answers = []
        for found in [self.shard.query(self.query_request(request)) for request in requests]:
            hits = []
            for hit in found:
                item = {"id": id_json(hit.id), "version": self.versions.get(str(hit.id), 0), "score": numpy.float32(hit.score)}
                if hit.payload is not None:
                    item["payload"] = hit.payload
                if hit.vector is not None:
                    item["vector"] = numbers(hit.vector)
                hits.append(item)
            answers.append({"points": hits})
        return answers

    @staticmethod
    def records(records):
        out = []
        for record in records:
            item = {"id": id_json(record.id)}
            if record.payload is not None:
                item["payload"] = record.payload
            if record.vector is not None:
                item["vector"] = numbers(record.vector)
            out.append(item)
        return out

    def scroll(self, request):
        offset = request.get("offset")
        records, following = self.shard.scroll(edge.ScrollRequest(offset=None if offset is None else point_id(offset), limit=request.get("limit") or 10,
                                                                  filter=filter_of(request.get("filter")), with_payload=request.get("with_payload", True),
                                                                  with_vector=request.get("with_vector", False)))
        return {"points": self.records(records), "next_page_offset": None if following is None else id_json(following)}

    def retrieve(self, request):
        return self.records(self.shard.retrieve([point_id(i) for i in request["ids"]], request.get("with_payload", True), request.get("with_vector", False)))

    def count(self, request):
        return {"count": self.shard.count(edge.CountRequest(exact=True, filter=filter_of(request.get("filter"))))}

    def facet(self, request):
        answer = self.shard.facet(edge.FacetRequest(key=request["key"], limit=request.get("limit", 10), exact=request.get("exact", False),
                                                    filter=filter_of(request.get("filter"))))
        return {"hits": [{"value": hit.value, "count": hit.count} for hit in answer.hits]}

    def info(self):
        found = self.shard.info()
        fields = {}
        for name, index in self.indexes.items():
            holding = self.shard.count(edge.CountRequest(exact=True, filter=edge.Filter(must_not=[edge.IsEmptyCondition(name)])))
            fields[name] = {**index, "points": holding}
        unset = {"max_segment_size": None, "memmap_threshold": None, "max_optimization_threads": None, "prevent_unoptimized": None}
        params = {"vectors": self.dense if "" not in self.dense else self.dense[""], "shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1,
                  "on_disk_payload": self.request.get("on_disk_payload", True), **({"sparse_vectors": self.sparse} if self.sparse else {})}
        return {"status": "green", "optimizer_status": "ok", "indexed_vectors_count": found.indexed_vectors_count, "points_count": found.points_count,
                "segments_count": found.segments_count,
                "config": {"params": params,
                           "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False},
                           "optimizer_config": {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
                                                "indexing_threshold": 10000, "flush_interval_sec": 5, **unset},
                           "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1},
                           "quantization_config": self.request.get("quantization_config")},
                "payload_schema": fields, "update_queue": {"length": 0}}

    def snapshot(self, folder):
        self.shard.flush()
        now = time.gmtime()
        name = f"{self.name}-{uuid.uuid4().int >> 76}-{time.strftime('%Y-%m-%d-%H-%M-%S', now)}.snapshot"
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w") as archive:
            archive.add(self.folder, arcname=self.name)
        (folder / name).write_bytes(memory.getvalue())
        return {"name": name, "creation_time": time.strftime("%Y-%m-%dT%H:%M:%S", now), "size": len(memory.getvalue()),
                "checksum": hashlib.sha256(memory.getvalue()).hexdigest()}


class Server:
    def __init__(self, api, api_key, folder):
        self.api, self.api_key, self.folder = api, api_key, folder
        self.collections, self.aliases, self.lock = {}, {}, threading.RLock()
        self.faults, self.requests = collections.deque(), []

    def collection(self, name):
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise missing(name)
        return found

    def answer(self, template, method, match, parameters, body):
        wait = parameters.get("wait") == "true"
        name = urllib.parse.unquote(match.groupdict().get("collection_name", ""))
        what = template.replace("/collections/{collection_name}", "C")
        if what == "/collections" and method == "GET":
            return {"collections": [{"name": known} for known in sorted(self.collections)]}
        if what == "/collections/aliases":
            for action in body["actions"]:
                if "create_alias" in action:
                    self.collection(action["create_alias"]["collection_name"])
                    self.aliases[action["create_alias"]["alias_name"]] = action["create_alias"]["collection_name"]
                elif "delete_alias" in action:
                    self.aliases.pop(action["delete_alias"]["alias_name"], None)
                else:
                    raise Refused(501, "the test server does not rename aliases")
            return True
        if what == "C/exists":
            return {"exists": self.aliases.get(name, name) in self.collections}
        if what == "C" and method == "PUT":
            if name in self.collections:
                raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
            self.collections[name] = Collection(self.folder, name, body)
            return True
        if what == "C" and method == "DELETE":
            known = self.collections.pop(name, None)
            if known is not None:
                known.close()
                self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}
            return known is not None
        collection = self.collection(name)
        with collection.lock:
            return {
                ("GET", "C"): lambda: collection.info(),
                ("GET", "C/aliases"): lambda: {"aliases": [{"alias_name": a, "collection_name": c} for a, c in self.aliases.items() if c == name]},
                ("PUT", "C/index"): lambda: collection.create_index(body, wait),
                ("PUT", "C/points"): lambda: collection.upsert(body, wait),
                ("POST", "C/points"): lambda: collection.retrieve(body),
                ("POST", "C/points/payload"): lambda: collection.set_payload(body, wait),
                ("PUT", "C/points/payload"): lambda: collection.set_payload(body, wait, overwrite=True),
                ("POST", "C/points/payload/delete"): lambda: collection.delete_payload(body, wait),
                ("POST", "C/points/delete"): lambda: collection.delete(body, wait),
                ("POST", "C/points/batch"): lambda: collection.batch(body, wait),
                ("POST", "C/points/query"): lambda: collection.query([body])[0],
                ("POST", "C/points/query/batch"): lambda: collection.query(body["searches"]),
                ("POST", "C/points/scroll"): lambda: collection.scroll(body),
                ("POST", "C/points/count"): lambda: collection.count(body),
                ("POST", "C/facet"): lambda: collection.facet(body),
                ("POST", "C/snapshots"): lambda: collection.snapshot(self.folder),
            }.get((method, what), lambda: self.unknown(method, template))()

    @staticmethod
    def unknown(method, template):
        raise Refused(501, f"the test server does not know {method} {template}")

    def handle(self, method, target, headers, raw):
        """Status, content type, bytes."""
        path, _, query = target.partition("?")
        probes = {"/healthz": "healthz check passed", "/livez": "healthz check passed", "/readyz": "all shards are ready"}
        if method == "GET" and path in probes:
            return 200, "text/plain; charset=utf-8", probes[path].encode()
        given = headers.get("api-key") or (headers.get("authorization") or "").removeprefix("Bearer ")
        if self.api_key and not given:
            return 401, None, b"Must provide an API key or an Authorization bearer token"
        if self.api_key and given != self.api_key:
            return 401, None, b"Invalid API key or JWT"
        if method == "GET" and path == "/":
            return 200, "application/json", orjson.dumps({"title": "qdrant - vector search engine", "version": VERSION})
        match, route = self.api.route(method, path)
        try:
            if route is None:
                return 404, None, b""
            known, request, answer, template = route
            parameters = dict(urllib.parse.parse_qsl(query))
            for key in parameters:
                if key not in known:
                    raise Refused(400, f"openapi.json does not know the parameter {key} of {method} {template}")
            body = None
            if request is not None:
                body = self.body(raw)
                for error in request.iter_errors(body):
                    # Ids and limits of their own words come below.
                    if "valid point ID" in self.words(body) or (isinstance(body, dict) and body.get("limit") == 0):
                        break
                    raise Refused(400, f"Format error in JSON body: {error.message[:500]} at /{'/'.join(map(str, error.instance_path))}")
            started = time.monotonic()
            with self.lock if "points" not in template else threading.Lock():
                result = self.answer(template, method, match, parameters, body)
            reply = {"result": result, "status": "ok", "time": round(time.monotonic() - started, 6)}
            data = orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)
            if answer is not None:
                for error in answer.iter_errors(orjson.loads(data)):
                    raise Refused(500, f"the test server gives what openapi.json does not know: {error.message[:300]}")
            return 200, "application/json", data
        except Refused as refused:
            return refused.status, "application/json", orjson.dumps({"status": {"error": refused.message}, "time": 0.0})

    @staticmethod
    def words(body):
        try:
            for point in body.get("points", []) if isinstance(body, dict) else []:
                point_id(point["id"] if isinstance(point, dict) else point)
        except Refused as refused:
            return refused.message
        except (KeyError, TypeError, AttributeError):
            pass
        return ""

    @staticmethod
    def body(raw):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            place = f"line {raw[:error.pos].count(10) + 1} column {error.pos - (raw.rfind(10, 0, error.pos) + 1)}"
            inside = "list" if raw.rstrip().endswith((b"[", b",")) else "object" if raw.strip() else "value"
            raise Refused(400, f"Format error in JSON body: EOF while parsing a {inside} at {place}") from None


def handler_of(server):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def log_message(self, *_):
            pass

        def cut(self):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def respond(self, status, kind, data):
            reason = http.client.responses.get(status, "")
            head = f"HTTP/1.1 {status} {reason}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "") + f"Content-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data)

        def serve(self):
            size = int(self.headers.get("content-length") or 0)
            if size > REQUEST_BYTES_MAX:
                self.close_connection = True
                return self.respond(413, "application/json", orjson.dumps({"status": {"error": f"JSON payload ({size} bytes) is larger than allowed (limit: {REQUEST_BYTES_MAX} bytes)."}, "time": 0.0}))
            raw = self.rfile.read(size)
            if self.path.startswith("/_test/"):
                return self.test(raw)
            with server.lock:
                for fault in server.faults:
                    fault["nth"] -= 1
                fault = next((f for f in server.faults if f["nth"] <= 0), None)
                if fault:
                    server.faults.remove(fault)
            kind = fault["kind"] if fault else ""
            if kind == "cut":
                return self.cut()
            if kind.isdigit():
                return self.respond(int(kind), "application/json", orjson.dumps({"status": {"error": "Service internal error: asked for by the test"}, "time": 0.0}))
            try:
                status, content, data = server.handle(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, raw)
            except Exception as error:  # the engine's own
                status, content, data = 500, "application/json", orjson.dumps({"status": {"error": f"Service internal error: {type(error).__name__}: {error}"}, "time": 0.0})
                print(f"{self.command} {self.path}: {error!r}", file=sys.stderr, flush=True)
            server.requests.append([self.command, self.path, len(raw), len(data)])
            if kind == "lost":
                return self.cut()
            return self.respond(status, content, data)

        def test(self, raw):
            if self.path == "/_test/fault" and self.command == "PUT":
                with server.lock:
                    server.faults.append(json.loads(raw))
            elif self.path == "/_test/requests" and self.command == "DELETE":
                server.requests.clear()
            elif self.path != "/_test/requests":
                return self.respond(404, None, b"")
            return self.respond(200, "application/json", json.dumps(server.requests).encode())

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = serve

    return Handler


def main():
    parser = argparse.ArgumentParser(description="A stand-in for Qdrant's REST server, for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api-key", default=os.environ.get("QDRANT_TEST_API_KEY", ""))
    parser.add_argument("--api", default=API)
    arguments = parser.parse_args()
    if not pathlib.Path(arguments.api).exists():
        sys.exit(f"no {arguments.api}: the description of Qdrant's REST interface")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="px-qdrant-"))
    http.server.ThreadingHTTPServer.request_queue_size = 128
    http.server.ThreadingHTTPServer.daemon_threads = True
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), handler_of(Server(Api(arguments.api), arguments.api_key, folder)))
    import signal
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=listener.shutdown).start())
    print(f"qdrant test server listens on http://127.0.0.1:{listener.server_port}", flush=True)
    try:
        listener.serve_forever()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
