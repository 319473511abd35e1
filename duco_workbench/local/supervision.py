"""Our programs under supervisord: written as its configuration, driven through its own interface on a Unix socket."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from ..errors import ConfigError, ServiceError
from .programs import Program

DRAIN_S = 9  # what a part gets to finish its batch before it is killed
NEVER = 99  # an exit code no part has: whatever it ends with, it is started again

# A part that dies at once is started again after 1 s, 2 s, 3 s … (supervisord's own backoff); one that had been
# running is started again immediately. 1,000 tries are weeks.
_HEAD = """\
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile={data}/logs/supervisor.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={data}/supervisor.pid
childlogdir={data}/logs

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """
[program:{name}]
command={command}
directory={cwd}
environment={environment}
priority={priority}
autostart=false
autorestart=unexpected
exitcodes={exitcodes}
startsecs={startsecs}
startretries=1000
stopwaitsecs={drain}
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={data}/logs/{name}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""


class Supervisor:
    """supervisord of one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        self.socket = _socket_path(self.data)

    def _call(self, method: str, *arguments: Any) -> Any:
        """Raises: ServiceError when no supervisor answers."""
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport, allow_none=True)
        try:
            function: Any = proxy
            for part in method.split("."):
                function = getattr(function, part)
            return function(*arguments)
        except (OSError, xmlrpc.client.ProtocolError) as error:
            raise ServiceError(f"no stack is running on {self.data} ({error})") from None
        finally:
            transport.close()

    def is_running(self) -> bool:
        try:
            return bool(self._call("supervisor.getPID"))
        except xmlrpc.client.Fault:  # it answers that it is shutting down
            return True
        except ServiceError:
            return False

    def states(self) -> dict[str, dict[str, Any]]:
        """name -> supervisord's process info. Raises: ServiceError."""
        return {info["name"]: info for info in self._call("supervisor.getAllProcessInfo")}

    def launch(self, programs: Sequence[Program], environment: dict[str, str]) -> None:
        """Start supervisord itself, with no program yet."""
        (self.data / "logs").mkdir(parents=True, exist_ok=True)
        config = self.data / "supervisor.conf"
        config.touch(mode=0o600)  # the environment holds the hub's key
        config.write_text(_config(programs, self.data, self.socket, environment))
        subprocess.run([sys.executable, "-m", "supervisor.supervisord", "-c", str(config)], check=True, cwd=self.data)
        _wait(self.is_running, 30, "supervisord")

    def start(self, programs: Sequence[Program]) -> None:
        """Start what is not running, all at once; returns before they are ready."""
        states = self.states()
        for program in programs:
            if states[program.name]["statename"] not in ("RUNNING", "STARTING", "BACKOFF"):
                self._call("supervisor.startProcess", program.name, False)

    def stop(self, name: str) -> None:
        """Drain one program and leave it stopped; returns when it has ended."""
        self._call("supervisor.stopProcess", name)

    def wait_for(self, program: Program, seconds: float = 90) -> None:
        """Raises: ServiceError with where to read why it is not ready."""
        log = self.data / "logs" / f"{program.name}.log"
        _wait(program.ready, seconds, f"{program.name} (its log: {log})")

    def shut_down(self) -> None:
        """Stop everything in the reverse order of its start; returns when all is gone."""
        self._call("supervisor.shutdown")
        _wait(lambda: not self.is_running(), 60, "the stack to stop")


def _config(programs: Sequence[Program], data: Path, socket: Path, environment: dict[str, str]) -> str:
    parts = [_HEAD.format(data=_escaped(data), socket=_escaped(socket))]
    for priority, program in enumerate(programs, start=1):
        pairs = {**environment, **program.environment}
        parts.append(
            _PROGRAM.format(
                name=program.name,
                command=_escaped(shlex.join(program.command)),
                cwd=_escaped(program.cwd),
                environment=_escaped(",".join(f'{k}="{v}"' for k, v in pairs.items())),
                priority=priority,
                exitcodes="0" if program.ends else NEVER,
                startsecs=0 if program.ends else 2,
                drain=DRAIN_S,
                data=_escaped(data),
            )
        )
    return "".join(parts)


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


def _socket_path(data: Path) -> Path:
    """A Unix socket's path may have some 100 characters."""
    path = data / "supervisor.sock"
    if len(str(path)) > 100:
        raise ConfigError(f"--data {data}: the path is too long for a Unix socket; use a shorter one")
    return path


def _wait(ready: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ServiceError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)
