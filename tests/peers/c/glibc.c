/* daemon(3) of the C library; it has no pidfile. */
#include <err.h>
#include <unistd.h>

int main(void) {
    if (daemon(0, 0) < 0)
        err(1, "daemon");
    for (;;)
        pause();
}
