from django.db import migrations, models
from django.db.models import Count, Max, OuterRef, Subquery
from django.db.models.functions import Coalesce


def count_what_is_amiss(apps, schema_editor):
    """Fill the new column, and date the newest good backup without them; as `actions.usage` does.

    Few sites have any: the others are as they were.
    """
    Backup, Site = apps.get_model("backups", "Backup"), apps.get_model("backups", "Site")
    good = Backup.objects.filter(site=OuterRef("pk"), status="SUCCESS").order_by().values("site")
    found = Backup.objects.filter(status="SUCCESS").exclude(check_problem="")
    sites = set(found.values_list("site", flat=True))
    amiss, whole = good.exclude(check_problem=""), good.filter(check_problem="")
    Site.objects.filter(pk__in=sites).update(
        backups_amiss=Coalesce(Subquery(amiss.annotate(n=Count("pk")).values("n")), 0),
        last_backup=Subquery(whole.annotate(at=Max("created_at")).values("at")),
    )


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0013_schedules'),
    ]

    operations = [
        migrations.AddField(
            model_name='site',
            name='backups_amiss',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AlterField(
            model_name='backup',
            name='removing_since',
            field=models.DateTimeField(blank=True, db_index=True, null=True),
        ),
        migrations.RunPython(count_what_is_amiss, migrations.RunPython.noop),
    ]
