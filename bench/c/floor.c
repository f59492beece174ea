/* The floor in C: a pipe, two forks, setsid(2), one byte. */
#include <unistd.h>

int main(void)
{
	int ends[2];
	char byte = '1';

	if (pipe(ends) == -1)
		return 1;
	switch (fork()) {
	case -1:
		return 1;
	case 0:
		break;
	default:
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) != 1);
	}
	close(ends[0]);
	if (setsid() == -1)
		return 1;
	switch (fork()) {
	case -1:
		return 1;
	case 0:
		break;
	default:
		_exit(0);
	}
	if (write(ends[1], &byte, 1) != 1)
		return 1;
	for (;;)
		pause();
}
