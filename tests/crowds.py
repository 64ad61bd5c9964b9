"""Threads that wait for one another, and Ctrl-C in one of them, to test what threads do together."""

import dis
import sys
import threading
import time

PATIENCE = 30


class Crowd:
    """Threads whose works wait for one that leads, so that they share the next transaction.

    :param queue: of those that wait.
    :param do: does a work in the thread that calls it.
    :param leading: what the leading one does when the others wait.
    """

    def __init__(self, queue, do, leading):
        self.queue, self.do, self.leading = queue, do, leading
        self.outcomes, self._threads = {}, []
        self._leads, self._goes = threading.Event(), threading.Event()
        self.start("leader", self._lead)
        assert self._leads.wait(PATIENCE)

    def _lead(self, unit):
        self._leads.set()
        assert self._goes.wait(PATIENCE)
        return self.leading(unit)

    def start(self, name, work, interrupt=lambda frame, event, argument: None):
        """Do a work in a thread, and return when it waits.

        :param interrupt: what traces that, and may raise something in it.
        """
        before = len(self.queue)

        def act():
            tracing = sys.gettrace()
            try:
                sys.settrace(interrupt if name == "interrupted" else tracing)
                self.outcomes[name] = self.do(work)
            except BaseException as error:
                self.outcomes[name] = error
            finally:
                sys.settrace(tracing)

        thread = threading.Thread(target=act, daemon=True)
        self._threads.append(thread)
        thread.start()
        if name != "leader":
            self.until(lambda: len(self.queue) > before or name in self.outcomes)

    def until(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.001)

    def go(self):
        """Let the leading one go on, wait for all, and return how each of them ended."""
        self._goes.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        return self.outcomes


class Interrupt:
    """Traces a thread, and raises KeyboardInterrupt in it at one of the moments when Python looks for signals.

    :param number: at which of them, as far as they are in some modules.
    """

    def __init__(self, number, modules):
        self.left, self._modules, self._before = number, modules, {}

    def __call__(self, frame, event, argument):
        if not frame.f_code.co_filename.endswith(self._modules):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before = self._before.get(frame)
            self._before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before in ("CALL", "CALL_FUNCTION", "CALL_METHOD", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD"):
                self.left -= 1
                if self.left == 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt
        return self
