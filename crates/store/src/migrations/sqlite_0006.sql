-- Which manager has the store: a number that grows with each that takes it.
CREATE TABLE lease (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    holder     TEXT    NOT NULL,
    taken_us   INTEGER NOT NULL
) STRICT;
