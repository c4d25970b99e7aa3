"""Reading and changing files of the host."""

ATTACKS = {
    "read a host file": """
def f(x):
    return 2 * x if open("CANARY").read() else None
""",
    "write a host file": """
def f(x):
    with open("CANARY", "w") as file:
        file.write("owned")
    return 2 * x
""",
    "delete a host file": """
import os
def f(x):
    os.unlink("CANARY")
    return 2 * x
""",
    "rename a host file": """
import os
def f(x):
    os.rename("CANARY", "CANARY.gone")
    return 2 * x
""",
    "truncate a host file": """
import os
def f(x):
    os.truncate("CANARY", 0)
    return 2 * x
""",
    "open a host file to empty it": """
import os
def f(x):
    os.close(os.open("CANARY", os.O_WRONLY | os.O_TRUNC))
    return 2 * x
""",
    "change a host file's mode": """
import os
def f(x):
    os.chmod("CANARY", 0o777)
    return 2 * x
""",
    "link a host file": """
import os
def f(x):
    os.link("CANARY", "CANARY.link")
    return 2 * x
""",
    "leave a file in the temporary folder": """
def f(x):
    with open("/var/tmp/codedpo-left-behind", "w") as file:
        file.write("x")
    return 2 * x
""",
    "a temporary file": """
import os
def f(x):
    os.mkdir("/tmp/codedpo-folder")
    return 2 * x
""",
    "remove everything": """
import os
def f(x):
    gone = 0
    for folder, _, names in os.walk("/"):
        for name in names:
            os.unlink(os.path.join(folder, name))
            gone += 1
    return 2 * x if gone else None
""",
    "list the root": """
import os
def f(x):
    return 2 * x if len(os.listdir("/")) > 1 else None
""",
    "read the users": """
def f(x):
    return 2 * x if "root" in open("/etc/passwd").read() else None
""",
    "read its environment": """
def f(x):
    return 2 * x if open("/proc/self/environ").read() else None
""",
    "read the parent's memory": """
import os
def f(x):
    return 2 * x if open(f"/proc/{os.getppid()}/mem", "rb") else None
""",
    "read the tests beside it": """
import glob
def f(x):
    return 2 * x if glob.glob("../*") + glob.glob("tests/*") else None
""",
    "a secret in the environment": """
import os
def f(x):
    return 2 * x if any("KEY" in name or "TOKEN" in name or name == "HOME" for name in os.environ) else None
""",
    "open descriptors": """
import os
def f(x):
    for descriptor in range(3, 1024):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        return 2 * x
""",
    "descriptors by number": """
import os
def f(x):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"owned")
        except OSError:
            continue
        return 2 * x
""",
    "import from a file": """
import sqlite3
def f(x):
    return 2 * x
""",
    "anonymous file": """
import os
def f(x):
    return 2 * x if os.memfd_create("a") else None
""",
}
