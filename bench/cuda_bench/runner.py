"""mlsys-run of the prepared folder."""
import os
import subprocess
import sys

# Where the driver's library may lie without ld.so knowing.
DRIVERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib64-nvidia", "/usr/lib/wsl/lib", "/run/opengl-driver/lib")


class Runner:
    def __init__(self, folder, device):
        self.folder, self.device = os.path.abspath(folder), device
        self.program = os.path.join(self.folder, "mlsys-run")
        self.environment = dict(os.environ)
        # The kernels that are compiled here, if any, stay here.
        self.environment.setdefault("MLSYS_CACHE_DIR", os.path.join(self.folder, "cache"))
        # NVRTC may be one of Python's packages.
        self.environment.setdefault("VIRTUAL_ENV", sys.prefix)
        self.choose_libraries()

    def choose_libraries(self):
        """Libraries that travelled; libstdc++ and libgcc only where the machine's are older than the program needs."""
        lib, cxx = (os.path.join(self.folder, name) for name in ("lib", "lib-cxx"))
        known = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
        known += [folder for folder in DRIVERS if os.path.exists(os.path.join(folder, "libcuda.so.1"))]
        reason = ""
        for folders in ([lib], [lib, cxx]):
            self.environment["LD_LIBRARY_PATH"] = ":".join(folders + known)
            try:
                done = subprocess.run([self.program, "--version"], capture_output=True, text=True, env=self.environment,
                                      timeout=60)
            except OSError as error:
                raise SystemExit(f"{self.program} does not run here: {error}")
            if done.returncode == 0:
                self.version = done.stdout.strip()
                return
            reason = done.stderr.strip()
        raise SystemExit(f"{self.program} does not run here: {reason}")

    def devices(self):
        """What mlsys-run says of the machine's devices."""
        done = subprocess.run([self.program, "devices"], capture_output=True, text=True, env=self.environment, timeout=120)
        return (done.stdout + done.stderr).strip()

    def works(self):
        """Whether the device runs anything; says why not."""
        try:
            self.run("bench", self.file("copy"), "--symbol", "N=1", "-r", "1")
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(error, flush=True)
            return False
        return True

    def command(self, *arguments, device=None):
        return [self.program, *map(str, arguments), "--device", device or self.device]

    def run(self, *arguments, device=None, environment=None, timeout=300):
        done = subprocess.run(self.command(*arguments, device=device), capture_output=True, text=True, timeout=timeout,
                              env={**self.environment, **(environment or {})})
        if done.returncode:
            raise RuntimeError(f"mlsys-run {' '.join(map(str, arguments))} --device {device or self.device} "
                               f"(exit code {done.returncode}): {done.stderr.strip()[-1500:]}")
        return done.stdout

    def file(self, name):
        return os.path.join(self.folder, name + ".mlsys")
