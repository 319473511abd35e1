"""The first catalog: tenants, devices, databases, decoder manifests, variables, chart groups."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.String(200)


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), nullable=False)


def upgrade() -> None:
    _counter()
    _registry()
    _databases()
    _manifests()
    _variables()
    _chart_groups()


def _counter() -> None:
    counter = op.create_table(
        "counter",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counter, [{"id": 1, "revision": 0}])


def _registry() -> None:
    op.create_table(
        "tenants", sa.Column("name", NAME, primary_key=True), sa.Column("created", sa.BigInteger, nullable=False)
    )
    op.create_table(
        "devices",
        sa.Column("chassis_id", NAME, primary_key=True),
        _tenant(),
        sa.Column("name", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_devices_tenant", "devices", ["tenant"])


def _databases() -> None:
    op.create_table(
        "database_files",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("signals", sa.JSON, nullable=False),
        sa.Column("skipped", sa.JSON, nullable=False),
    )
    op.create_table(
        "databases",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        _tenant(),
        sa.Column("name", NAME, nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), sa.ForeignKey("database_files.sha256"), nullable=False),
        sa.Column("overrides", sa.JSON, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_databases_tenant_name", "databases", ["tenant", "name"])


def _manifests() -> None:
    op.create_table(
        "manifests",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        _tenant(),
        sa.Column("chassis_id", NAME, nullable=False),
        sa.Column("valid_from", sa.BigInteger, nullable=False),
        sa.Column("keep", sa.String(16), nullable=False),
        sa.Column("bindings", sa.JSON, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_manifests_tenant_chassis_id", "manifests", ["tenant", "chassis_id"])


def _variables() -> None:
    op.create_table(
        "variables",
        sa.Column("id", sa.Integer, primary_key=True),
        _tenant(),
        sa.Column("name", NAME, nullable=False),
        sa.Column("signal", sa.String(500), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("unit", NAME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("spn", sa.Integer),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("aliases", sa.JSON, nullable=False),
        sa.Column("minimum", sa.Float),
        sa.Column("maximum", sa.Float),
        sa.Column("choices", sa.JSON, nullable=False),
        sa.Column("database", NAME, nullable=False),
        sa.Column("edited", sa.Boolean, nullable=False),
        sa.UniqueConstraint("tenant", "name"),
    )
    op.create_index("ix_variables_tenant_signal", "variables", ["tenant", "signal"])


def _chart_groups() -> None:
    op.create_table(
        "chart_groups",
        sa.Column("id", sa.Integer, primary_key=True),
        _tenant(),
        sa.Column("chassis_id", NAME, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("unit", NAME, nullable=False),
        sa.Column("variables", sa.JSON, nullable=False),
        sa.Column("proposed", sa.Boolean, nullable=False),
        sa.UniqueConstraint("tenant", "chassis_id", "name"),
    )


def downgrade() -> None:
    for table in ("chart_groups", "variables", "manifests", "databases", "database_files", "devices", "tenants"):
        op.drop_table(table)
    op.drop_table("counter")
