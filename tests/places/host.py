# A program in another language: opens a file that is not close-on-exec, loads the library, and has it start the service.
import ctypes, os, sys

owned = os.open(os.environ["OWNED"], os.O_RDWR | os.O_CREAT, 0o600)
os.set_inheritable(owned, True)
sys.exit(ctypes.CDLL(sys.argv[1]).start())
