"""Installs what is compared, at pinned versions: packages of the system, and the rig's own folder.

LiteLLM and Portkey go into `.bench/`, each in a folder that bears its version.
"""

import os
import shutil
import subprocess

from processes import Failed

# Debian 12. On another system its own version is taken, and the report says which.
APT = {"nginx": "1.22.1-9*", "haproxy": "2.6.12-1*", "strace": "6.1-0.1*", "openssl": "3.0.*"}
LITELLM = "1.106.2"
PORTKEY = "1.15.2"
# Not an authority: rustls refuses one as a server's certificate.
CERTIFICATE = """\
[req]
distinguished_name = name
x509_extensions = more
prompt = no
[name]
CN = localhost
[more]
subjectAltName = DNS:localhost, IP:127.0.0.1
basicConstraints = critical, CA:FALSE
"""


def system_tool(name):
    """Installs a tool by apt where it is missing: the pinned version, else the system's."""
    if shutil.which(name):
        return
    if not shutil.which("apt-get"):
        raise Failed(f"please install {name}")
    apt = [*([] if os.getuid() == 0 else ["sudo"]), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    # Lists of packages may be missing or old: they are fetched before the second try.
    pinned = f"{name}={APT[name]}"
    for package, update in ((pinned, False), (pinned, True), (name, False)):
        if update:
            subprocess.run([*apt, "update"], capture_output=True, check=False)
        install = [*apt, "install", "-y", "--no-install-recommends", package]
        if subprocess.run(install, capture_output=True, check=False).returncode == 0:
            return
    raise Failed(f"apt-get could not install {name}")


def litellm(folder):
    """The LiteLLM proxy in a virtual environment; the path of its program."""
    home = folder / f"litellm-{LITELLM}"
    if not (home / "installed").exists():
        print(f"installing LiteLLM {LITELLM}", flush=True)
        make(["python3", "-m", "venv", str(home)])
        make([str(home / "bin" / "pip"), "install", "-q", "--disable-pip-version-check",
              f"litellm[proxy]=={LITELLM}"])
        (home / "installed").touch()
    return home / "bin" / "litellm"


def portkey(folder):
    """The Portkey gateway; the path of its start script."""
    home = folder / f"portkey-{PORTKEY}"
    if not (home / "installed").exists():
        if not shutil.which("npm"):
            raise Failed("npm is not installed")
        print(f"installing Portkey {PORTKEY}", flush=True)
        make(["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--loglevel=error",
              f"@portkey-ai/gateway@{PORTKEY}"])
        (home / "installed").touch()
    return home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def certificate(folder):
    """A self-signed certificate of this run: paths of certificate, key, and both in one file."""
    system_tool("openssl")
    cert, key, both = folder / "tls.crt", folder / "tls.key", folder / "tls.pem"
    request = folder / "tls.cnf"
    request.write_text(CERTIFICATE)
    make(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
          "-days", "2", "-config", str(request), "-keyout", str(key), "-out", str(cert)])
    both.write_text(cert.read_text() + key.read_text())
    return cert, key, both


def make(command):
    """Runs an installation step."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command[:4])} …: {done.stderr.strip()[-400:]}")
