-- Version 2 of the schema. The conventions are those of 0001.sql.

-- Attempts: where the time went, and what was sent. Each is NULL when it did not happen: on a connection that
-- was open already nothing is resolved or connected, and one that fails gets no further.
ALTER TABLE attempt ADD COLUMN dns_us BIGINT;         -- resolving the name
ALTER TABLE attempt ADD COLUMN connect_us BIGINT;     -- making the TCP connection
ALTER TABLE attempt ADD COLUMN tls_us BIGINT;         -- the TLS handshake
ALTER TABLE attempt ADD COLUMN first_byte_us BIGINT;  -- from the start of the attempt to the head of the answer
ALTER TABLE attempt ADD COLUMN request TEXT;          -- request line and headers as sent, secrets masked
