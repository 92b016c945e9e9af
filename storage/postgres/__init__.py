"""PostgreSQL: what must not be lost and belongs to tenants. One boundary, in the database itself.

`database.py` opens transactions that see one tenant; `tables/` holds the tables by what they are about;
`migrations/` makes them; `boundary.py` refuses a database in which the boundary is open; `roles.py` makes the
roles. What a room asks of its tables stands beside them, one module a subject.
"""
