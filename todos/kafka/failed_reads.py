"""Counts how often an offset was read in vain."""

from kafka import TopicPartition

# A checksum that fails may be the reading's fault, so a batch is read this often before it is given up.
READS_OF_A_BAD_CHECKSUM = 3
# Nothing where there should be something is normal for a while: a fetch that is full leaves partitions for later.
READS_OF_NOTHING = 10


class FailedReads:
    """The failed reads of one offset per partition, with no read of that offset or a later one in between."""

    def __init__(self) -> None:
        self._reads: dict[TopicPartition, tuple[int, int]] = {}

    def add(self, where: TopicPartition, offset: int) -> int:
        """Count one, and return how many they are by now."""
        last_offset, reads = self._reads.get(where, (offset, 0))
        reads = reads + 1 if last_offset == offset else 1
        self._reads[where] = offset, reads
        return reads

    def clear(self, where: TopicPartition, offset: int) -> None:
        """Forget them after a read of this offset: it proves nothing about later ones, since readings begin earlier."""
        if where in self._reads and self._reads[where][0] <= offset:
            del self._reads[where]
