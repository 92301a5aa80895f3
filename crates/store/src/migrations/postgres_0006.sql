-- Which manager has the store: a number that grows with each that takes it, so that one that had it before writes no more.
CREATE TABLE lease (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    generation BIGINT NOT NULL,
    holder     TEXT   NOT NULL,
    taken_us   BIGINT NOT NULL
);
