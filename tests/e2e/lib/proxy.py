"""A TCP proxy before a real server, on a free port of the loopback, which goes wrong at the requests it is told to: as src/testing/fault_proxy.h.
A request is what a client sends after it connected or after the server's last bytes."""

import select
import socket
import struct
import threading
import time

FAULTS = ("cut", "cut_request", "lost_reply", "torn_reply", "delay", "twice")
HTTP_FAULTS = FAULTS + ("500", "503")


class Proxy:
    def __init__(self, upstream_port):
        self.upstream, self.plan, self.count, self.faults = upstream_port, {}, 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, plan=()):
        """{n: fault} from the next request on, which is number 1."""
        with self.lock:
            self.plan, self.count, self.faults = dict(plan), 0, 0

    def stop(self):
        self.listener.close()

    def next(self):
        with self.lock:
            self.count += 1
            fault = self.plan.get(self.count)
            self.faults += fault is not None
            return fault

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = None
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pass_on(client, server)
        except OSError:
            pass
        finally:
            for end in (client, server):
                if end:
                    end.close()

    def pass_on(self, client, server):
        in_request, fault, kept = False, None, b""
        while True:
            ready = select.select([client, server], [], [])[0]
            if server in ready:
                data = server.recv(65536)
                if not data:
                    return
                if in_request and fault == "lost_reply":
                    return reset(client)
                if in_request and fault == "torn_reply":
                    client.sendall(data[:len(data) // 2])
                    return None
                if in_request and fault == "twice":
                    self.again(kept)
                in_request = False
                client.sendall(data)
                continue
            data = client.recv(65536)
            if not data:
                return
            if not in_request:
                in_request, kept, fault = True, b"", self.next()
                if fault == "cut":
                    return reset(client)
                if fault == "cut_request":
                    server.sendall(data[:len(data) // 2])
                    return reset(client)
                if fault == "delay":
                    time.sleep(0.3)
                if fault in ("500", "503"):
                    client.sendall(f"HTTP/1.1 {fault} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass
                    return None
            if fault == "twice":
                kept += data
            server.sendall(data)

    def again(self, request):
        """The same request once more, on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.upstream)) as other:
            other.settimeout(2)
            try:
                other.sendall(request)
                other.recv(65536)
            except OSError:
                pass


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
